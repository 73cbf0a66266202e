package detector

import (
	"encoding/binary"
	"hash/crc32"
	"runtime"
	"testing"
	"time"

	"tocsin/fleet"
	"tocsin/series"
)

// FuzzSnapshot reads whatever there is between a right head and a right checksum, and goes on
// with what it read.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte{})
	f.Add(seedSnapshot(f))
	f.Fuzz(func(t *testing.T, body []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := decode(frame(body))
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(64*len(body)+1<<20) {
			t.Fatalf("%d bytes for a body of %d", grown, len(body))
		}
		if err != nil {
			return
		}
		e := seedEngine(t)
		s := e.shard(m.cluster)
		s.install(m)
		at := m.closed.Add(m.step)
		s.take(&series.Batch{
			Cluster: m.cluster, Signal: "latency", At: at, Step: time.Minute, Final: true,
		})
		s.clusters[m.cluster].status()
		s.clusters[m.cluster].servicesStatus()
		s.clusters[m.cluster].encode(nil)
		s.removeCluster(m.cluster)
	})
}

// frame puts a head before body and a checksum after it.
func frame(body []byte) []byte {
	b := append([]byte(snapshotMagic), snapshotVersion, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(body)))
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func seedEngine(t testing.TB) *Engine {
	t.Helper()
	e, err := New(Options{
		Registry: series.NewRegistry(0), Shards: 1,
		Signals: []Signal{{Name: "latency", Kind: Latency, Bad: Up}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// seedSnapshot returns the body of a snapshot with one series that has a finding.
func seedSnapshot(t testing.TB) []byte {
	t.Helper()
	e := seedEngine(t)
	ref, err := e.opts.Registry.Ref(series.ID{
		Service: fleet.Service{Cluster: "c", Namespace: "n", Name: "s"}, Signal: "latency",
	})
	if err != nil {
		t.Fatal(err)
	}
	s := e.shards[0]
	at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 120 {
		v := 0.1
		if i > 100 {
			v = 10
		}
		at = at.Add(time.Minute)
		s.take(&series.Batch{
			Cluster: "c", Signal: "latency", At: at, Step: time.Minute, Final: true,
			Refs: []series.Ref{ref}, Values: []float64{v},
		})
	}
	if len(s.clusters["c"].order[0].open) != 1 {
		t.Fatal("no finding")
	}
	b := s.clusters["c"].encode(nil)
	return b[snapshotHead : len(b)-snapshotFoot]
}
