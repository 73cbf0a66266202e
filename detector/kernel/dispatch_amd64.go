//go:build amd64 && !purego

package kernel

import "golang.org/x/sys/cpu"

func detect() instructions {
	switch x := &cpu.X86; {
	case x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL:
		return avx512
	case x.HasAVX2:
		return avx2
	}
	return portable
}
