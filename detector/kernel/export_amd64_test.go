//go:build amd64 && !purego

package kernel

// TickFloor loads and stores what Tick does, if there is AVX-512.
func TickFloor(
	news, score, center, lower, upper []Lanes, blocks []Block, seasons []Season, y []Lanes, p *Params,
) {
	if best == avx512 {
		tickFloor(len(blocks), &news[0], &score[0], &center[0], &lower[0], &upper[0],
			&blocks[0], &seasons[0], &y[0], p)
	}
}
