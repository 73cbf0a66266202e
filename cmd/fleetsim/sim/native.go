package sim

import (
	"math"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// unit says in what unit a histogram measures time, and where its classic buckets end.
type unit struct {
	perSecond float64
	bounds    []float64
}

// histogram adds p.latencies to f: classic buckets, and native ones for those who ask for protobuf.
func (p *page) histogram(
	f *dto.MetricFamily, labels []*dto.LabelPair, u *unit, began *timestamppb.Timestamp,
) {
	d := &p.latencies
	h := &dto.Histogram{
		SampleCount:      p.count(d.count()),
		SampleSum:        p.number(d.sum * u.perSecond),
		CreatedTimestamp: began,
		Bucket:           make([]*dto.Bucket, 0, len(u.bounds)),
	}
	for i, bound := range u.bounds {
		b := take(&p.buckets)
		b.UpperBound = &u.bounds[i]
		b.CumulativeCount = p.count(d.cumulative(position(d.first, bound/u.perSecond)))
		h.Bucket = append(h.Bucket, b)
	}
	d.native(h, u.perSecond)
	m := take(&p.metrics)
	m.Label, m.Histogram = labels, h
	f.Metric = append(f.Metric, m)
}

var (
	nativeSchema  = int32(schema)
	zeroThreshold = math.Exp2(-128)
	zeroCount     = uint64(0)
)

// native cuts the cells into buckets of the same width whose ends are powers of two in another
// unit.
func (d *distribution) native(h *dto.Histogram, perSecond float64) {
	h.Schema, h.ZeroThreshold, h.ZeroCount = &nativeSchema, &zeroThreshold, &zeroCount
	shift := cellsPerPower * math.Log2(perSecond)
	// Of the bucket that holds the lower end of the cells.
	index := d.first + int(math.Floor(shift))
	var last, before uint64
	var span *dto.BucketSpan
	next := 0 // Index that would go on with the span.
	for index <= d.first+int(shift)+numCells+1 {
		upTo := d.cumulative(float64(index-d.first+1) - shift)
		n := upTo - before
		before = upTo
		if n > 0 {
			if span == nil || index != next {
				offset := int32(index - next)
				span = &dto.BucketSpan{Offset: &offset, Length: new(uint32)}
				h.PositiveSpan = append(h.PositiveSpan, span)
			}
			*span.Length++
			h.PositiveDelta = append(h.PositiveDelta, int64(n)-int64(last))
			last, next = n, index+1
		}
		index++
	}
	if span == nil { // Else nobody could tell that it is a native histogram.
		h.PositiveSpan = []*dto.BucketSpan{{Offset: new(int32), Length: new(uint32)}}
	}
}
