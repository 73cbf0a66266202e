package detector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"time"

	"tocsin/detector/baseline"
	"tocsin/fleet"
)

// The frame of a snapshot; docs/formats/snapshot.md describes all of it.
const (
	snapshotMagic   = "TOCSNAP\n"
	snapshotVersion = 3
	snapshotHead    = len(snapshotMagic) + 4 + 8
	snapshotFoot    = 4
	noTime          = math.MinInt64
)

// image is a snapshot that was read and holds together.
type image struct {
	cluster  string
	closed   time.Time
	step     time.Duration
	recent   [8]time.Time
	closes   uint64
	behind   uint32
	behindAt time.Time
	services []fleet.Service // The zero Service is a free place.
	groups   []byte
	columns  []columnImage
	budget   *budgetImage
}

type columnImage struct {
	signal   string
	kind     Kind
	window   time.Duration
	period   time.Duration
	at       time.Time
	slots    []slotImage
	state    []byte
	findings []*openFinding
	hot      []hot
}

type slotImage struct {
	service int32
	seen    int64
	recent  uint8
}

// encode appends the snapshot of c to dst.
func (c *cluster) encode(dst []byte) []byte {
	w := writer{append(dst, snapshotMagic...)}
	w.u32(snapshotVersion)
	w.u64(0) // Length, when it is known.
	w.text(c.name)
	w.time(c.closed)
	w.i64(int64(c.step))
	for _, at := range c.recent {
		w.time(at)
	}
	w.u64(uint64(c.closes))
	w.u32(uint32(c.behind))
	w.time(c.behindAt)
	w.u32(uint32(len(c.names)))
	for _, s := range c.names {
		w.text(s.Namespace)
		w.text(s.Name)
	}
	w.b = baseline.AppendGroups(w.b, c.groups)
	w.u32(uint32(len(c.order)))
	for _, col := range c.order {
		col.encode(&w)
	}
	c.spending.encode(c, &w)
	body := w.b[len(dst):]
	binary.LittleEndian.PutUint64(body[snapshotHead-8:], uint64(len(body)-snapshotHead))
	w.u32(crc32.Checksum(w.b[len(dst):], crc32.MakeTable(crc32.Castagnoli)))
	return w.b
}

func (col *column) encode(w *writer) {
	w.text(col.signal.Name)
	w.text(string(col.signal.Kind))
	w.i64(int64(col.window))
	w.i64(int64(col.model.Params().Period))
	w.time(col.model.At())
	w.u32(uint32(len(col.refs)))
	for slot, service := range col.service {
		w.u32(uint32(service))
		w.i64(col.seen[slot])
		w.b = append(w.b, col.recent[slot])
	}
	w.b = col.model.AppendState(w.b)
	findings := slices.Concat(col.open, col.settling)
	w.u32(uint32(len(findings)))
	for _, f := range findings {
		f.encode(w)
	}
}

func (f *openFinding) encode(w *writer) {
	w.u32(uint32(f.slot))
	w.u32(uint32(f.quiet))
	w.u32(uint32(f.ticks))
	w.u32(uint32(f.worsened))
	w.u32(uint32(f.settling))
	w.f64(f.told)
	w.f64(f.furthest)
	w.time(f.grew)
	w.text(f.ID)
	w.time(f.Start)
	w.time(f.At)
	w.text(string(f.Direction))
	w.flag(f.Harmful)
	w.flag(f.silent)
	w.flag(f.bounded)
	for _, v := range [...]float64{
		f.Score, f.Peak, f.Observed, f.Expected, f.Lower, f.Upper,
	} {
		w.f64(v)
	}
}

// decode reads a snapshot. Its memory is proportional to data, whatever data say; the image
// refers to data.
func decode(data []byte) (*image, error) {
	body, err := unframe(data)
	if err != nil {
		return nil, err
	}
	r := reader{b: body}
	m := &image{cluster: r.text(), closed: r.time(), step: time.Duration(r.i64())}
	for i := range m.recent {
		m.recent[i] = r.time()
	}
	m.closes = r.u64()
	m.behind = r.u32()
	m.behindAt = r.time()
	m.services = make([]fleet.Service, r.count(8))
	for i := range m.services {
		m.services[i] = fleet.Service{Cluster: m.cluster, Namespace: r.text(), Name: r.text()}
		if m.services[i].Name == "" {
			m.services[i] = fleet.Service{}
		}
	}
	m.groups = r.bytes(baseline.GroupSize(len(m.services)))
	m.columns = make([]columnImage, 0, min(r.peekCount(), 256))
	for range r.count(40) {
		m.columns = append(m.columns, r.column(m))
	}
	r.budget(m)
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes too many", len(r.b))
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, m.check()
}

// unframe returns the body of a snapshot.
func unframe(data []byte) ([]byte, error) {
	switch {
	case len(data) < snapshotHead+snapshotFoot:
		return nil, fmt.Errorf("torn: it has %d bytes only", len(data))
	case string(data[:len(snapshotMagic)]) != snapshotMagic:
		return nil, errors.New("not a snapshot")
	}
	version := binary.LittleEndian.Uint32(data[len(snapshotMagic):])
	length := binary.LittleEndian.Uint64(data[len(snapshotMagic)+4:])
	body := data[snapshotHead : len(data)-snapshotFoot]
	if version != snapshotVersion {
		return nil, fmt.Errorf("version %d, of another model: only %d can be read; what it knew is learnt "+
			"anew from history", version, snapshotVersion)
	}
	if length != uint64(len(body)) {
		return nil, fmt.Errorf("torn: its body has %d bytes of %d", len(body), length)
	}
	sum := crc32.Checksum(data[:len(data)-snapshotFoot], crc32.MakeTable(crc32.Castagnoli))
	if sum != binary.LittleEndian.Uint32(data[len(data)-snapshotFoot:]) {
		return nil, errors.New("damaged: its checksum does not match")
	}
	return body, nil
}

func (r *reader) column(m *image) columnImage {
	c := columnImage{
		signal: r.text(), kind: Kind(r.text()),
		window: time.Duration(r.i64()), period: time.Duration(r.i64()),
		at: r.time(),
	}
	c.slots = make([]slotImage, r.count(13))
	for i := range c.slots {
		c.slots[i] = slotImage{service: int32(r.u32()), seen: r.i64(), recent: r.u8()}
	}
	c.state = r.bytes(baseline.StateSize(len(c.slots)))
	c.findings = make([]*openFinding, 0, min(r.peekCount(), 256))
	for range r.count(119) {
		f := r.finding()
		if r.err == nil && f.slot < len(c.slots) && int(c.slots[f.slot].service) < len(m.services) &&
			c.slots[f.slot].service >= 0 {
			f.Service = m.services[c.slots[f.slot].service]
			f.Signal, f.Kind = c.signal, c.kind
		}
		c.findings = append(c.findings, f)
	}
	return c
}

func (r *reader) finding() *openFinding {
	f := &openFinding{slot: int(r.u32())}
	f.quiet, f.ticks = int(r.u32()), int(r.u32())
	f.worsened, f.settling = int(r.u32()), int(r.u32())
	f.told, f.furthest, f.grew = r.f64(), r.f64(), r.time()
	if f.State = Open; f.settling > 0 {
		f.State = Resolved
	}
	f.ID = r.text()
	f.Start, f.At = r.time(), r.time()
	f.Direction = Direction(r.text())
	f.Harmful, f.silent, f.bounded = r.u8() == 1, r.u8() == 1, r.u8() == 1
	for _, p := range [...]*float64{
		&f.Score, &f.Peak, &f.Observed, &f.Expected, &f.Lower, &f.Upper,
	} {
		if *p = r.f64(); math.IsNaN(*p) || math.IsInf(*p, 0) {
			r.fail("a finding without its values")
		}
	}
	return f
}

// check tells what in m contradicts itself: it may have been made with a right checksum by
// something else.
func (m *image) check() error {
	if m.cluster == "" || m.step <= 0 {
		return errors.New("no cluster, or no step")
	}
	services := make(map[fleet.Service]bool)
	for _, s := range m.services {
		if services[s] && s.Name != "" {
			return fmt.Errorf("service %s is there twice", s)
		}
		services[s] = true
	}
	signals := make(map[string]bool)
	for i := range m.columns {
		c := &m.columns[i]
		if signals[c.signal] {
			return fmt.Errorf("signal %s is there twice", c.signal)
		}
		signals[c.signal] = true
		if err := c.check(m.services); err != nil {
			return fmt.Errorf("signal %s: %w", c.signal, err)
		}
	}
	return nil
}

func (c *columnImage) check(services []fleet.Service) error {
	if c.window <= 0 {
		return errors.New("no window")
	}
	used := make([]bool, len(services))
	for slot, s := range c.slots {
		switch {
		case s.service == -1:
			continue
		case s.service < 0 || int(s.service) >= len(services) || services[s.service].Name == "":
			return fmt.Errorf("slot %d belongs to no service", slot)
		case used[s.service]:
			return fmt.Errorf("service %s has two slots", services[s.service])
		}
		used[s.service] = true
	}
	found := make(map[int]bool)
	for _, f := range c.findings {
		if f.slot >= len(c.slots) || c.slots[f.slot].service < 0 || found[f.slot] {
			return fmt.Errorf("finding %q belongs to no series, or is its second", f.ID)
		}
		found[f.slot] = true
	}
	return nil
}

// writer appends what snapshots are made of.
type writer struct{ b []byte }

func (w *writer) u32(v uint32)  { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64)  { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) i64(v int64)   { w.u64(uint64(v)) }
func (w *writer) f64(v float64) { w.u64(math.Float64bits(v)) }

func (w *writer) flag(v bool) {
	b := byte(0)
	if v {
		b = 1
	}
	w.b = append(w.b, b)
}

func (w *writer) text(s string) {
	w.u32(uint32(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.i64(noTime)
		return
	}
	w.i64(t.UnixNano())
}

// reader takes apart what a writer made. After the first mistake all it returns is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("malformed: "+format, args...)
	}
}

// bytes returns the next n bytes, or nil if there are fewer.
func (r *reader) bytes(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		r.fail("%d bytes where %d should be", len(r.b), n)
		return nil
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) u8() uint8 {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) i64() int64   { return int64(r.u64()) }
func (r *reader) f64() float64 { return math.Float64frombits(r.u64()) }

// count returns how many things follow, of at least size bytes each; 0 if there is no room for so
// many.
func (r *reader) count(size int) int {
	n := int(r.u32())
	if r.err == nil && (n < 0 || n > len(r.b)/size) {
		r.fail("%d things in %d bytes", n, len(r.b))
	}
	if r.err != nil {
		return 0
	}
	return n
}

// peekCount returns the count that is next without taking it.
func (r *reader) peekCount() int {
	if r.err != nil || len(r.b) < 4 {
		return 0
	}
	return int(binary.LittleEndian.Uint32(r.b))
}

func (r *reader) text() string { return string(r.bytes(int(r.u32()))) }

func (r *reader) time() time.Time {
	n := r.i64()
	if n == noTime || r.err != nil {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
