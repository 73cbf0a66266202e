package promql

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxMessage bounds what is kept of what a source says, for people.
	maxMessage = 300
	// maxWarnings bounds how many of its warnings are kept.
	maxWarnings = 5
)

// apiError is what a source says if it does not answer a query.
type apiError struct {
	Type    string // bad_data, execution, timeout, ...
	Message string
}

func (e *apiError) Error() string { return e.Type + ": " + e.Message }

// form is the shape of a result.
type form uint8

const (
	noForm form = iota
	empty
	vector
	matrix
	scalar
)

func (f form) String() string {
	return [...]string{"none", "empty", "vector", "matrix", "scalar"}[f]
}

// decoder reads answers of the query API into columns while they arrive. A steady answer
// allocates nothing. The answer is only good if decode returns nil: what precedes a broken end
// is not taken for the whole.
//
// The order of keys does not matter, unknown ones are skipped, and the kind of result is read
// from its form: a server that gives another than it announces is refused.
type decoder struct {
	scanner
	rows      rows
	native    nativeRows // The same, if they have use for native histograms.
	answer    *answer
	points    []point // Of the series at hand, as what follows.
	natives   []nativePoint
	buckets   []nativeBucket
	series    int    // Place of the series at hand.
	form      form   // Of the result, as it was found.
	announced string // What the answer says that it is.
}

// decode reads one answer of at most limit bytes. The error is an *apiError if the source says
// so, or wraps errMalformed, errTruncated, errTooLarge or what reading gave.
func (d *decoder) decode(src io.Reader, limit int64, t rows, a *answer) error {
	d.start(src, limit)
	d.rows, d.answer, d.series, d.form, d.announced = t, a, 0, noForm, ""
	d.native, _ = t.(nativeRows)
	t.begin()
	defer func() { d.src, d.rows, d.native, d.answer = nil, nil, nil, nil }() // It may be kept.
	status, fault := d.envelope()
	d.finish()
	a.bytes = limit - d.left
	if d.err == nil && status == "error" {
		return &fault
	}
	if d.err == nil && (status != "success" || d.form == noForm) {
		d.malformed("status success and a result")
	}
	if d.err == nil {
		t.end(d.series)
		a.series = d.series
		d.compare()
	}
	return d.err
}

// compare warns of a source that answers for an earlier instant than it was asked for, as some
// do that wait for late samples: a longer lag is what they need.
func (d *decoder) compare() {
	a := d.answer
	if d.form == vector && a.steps == 1 && a.skew > 1000 {
		a.warnings = append(a.warnings, fmt.Sprintf(
			"the values are %d s older than the instant asked for; a longer lag helps", a.skew/1000))
	}
}

// object calls each with every key of an object; it must consume the value.
func (d *decoder) object(each func(key string)) {
	d.expect('{')
	if d.take('}') {
		return
	}
	for d.err == nil {
		each(d.key())
		if !d.take(',') {
			break
		}
	}
	d.expect('}')
}

// array calls each for every element of an array; it must consume it.
func (d *decoder) array(each func()) {
	d.expect('[')
	if d.take(']') {
		return
	}
	for d.err == nil {
		each()
		if !d.take(',') {
			break
		}
	}
	d.expect(']')
}

func (d *decoder) envelope() (status string, fault apiError) {
	d.object(func(key string) {
		switch key {
		case "status":
			status = d.text()
		case "errorType":
			fault.Type = clean(d.text())
		case "error":
			fault.Message = clean(d.text())
		case "warnings", "infos":
			d.messages()
		case "data":
			if d.next() == '{' && d.form == noForm {
				d.data()
			} else {
				d.skip()
			}
		default:
			d.skip()
		}
	})
	return status, fault
}

// messages keeps some of the warnings of the source.
func (d *decoder) messages() {
	if d.next() != '[' {
		d.skip()
		return
	}
	d.array(func() {
		if text := d.text(); len(d.answer.warnings) < maxWarnings {
			d.answer.warnings = append(d.answer.warnings, clean(text))
		}
	})
}

// data reads what kind of result there is and the result, in any order.
func (d *decoder) data() {
	d.object(func(key string) {
		switch key {
		case "resultType":
			d.announced = d.text()
			d.agree()
		case "result":
			if d.form != noForm {
				d.malformed("one result")
				return
			}
			d.result()
			d.agree()
		default:
			d.skip()
		}
	})
	if d.announced == "" {
		d.malformed("a result with a type")
	}
}

// agree makes sure that the result is of the kind that was announced, once both are known. A
// string is refused before it is read.
func (d *decoder) agree() {
	ok := false
	switch d.announced {
	case "", d.form.String():
		ok = true
	case "vector", "matrix":
		ok = d.form == noForm || d.form == empty
	case "scalar":
		ok = d.form == noForm
	}
	if !ok {
		d.fail(fmt.Errorf("%w: the result is a %s, want an instant vector",
			errWrongType, clean(d.announced)))
	}
}

// result reads an array of series, or the one sample of a scalar, which has no labels.
func (d *decoder) result() {
	d.expect('[')
	switch c := d.next(); {
	case d.err != nil:
	case c == ']':
		d.form = empty
		d.pos++
	case c == '{':
		d.element()
		for d.err == nil && d.take(',') {
			d.element()
		}
		d.expect(']')
	default:
		d.form = scalar
		d.points = d.points[:0]
		d.sampleEnd()
		if d.err == nil {
			d.commit(d.labels([]byte("{}")))
		}
	}
}

// element reads one series: {"metric":{...},"value":[...]} or {"metric":{...},"values":[...]}.
func (d *decoder) element() {
	const none = math.MinInt32
	set := int32(none)
	d.points, d.natives, d.buckets = d.points[:0], d.natives[:0], d.buckets[:0]
	d.expect('{')
	for more := !d.take('}'); more && d.err == nil; {
		switch key := d.key(); key {
		case "metric":
			set = d.metric()
		case "value":
			d.is(vector)
			d.sample()
		case "values":
			d.is(matrix)
			d.samples()
		case "histogram":
			d.is(vector)
			d.histogram((*decoder).nativeSample)
		case "histograms":
			d.is(matrix)
			d.histogram((*decoder).nativeSamples)
		default:
			d.skip()
		}
		if more = d.take(','); !more {
			d.expect('}')
		}
	}
	if set == none {
		d.malformed("labels in each series")
	}
	if d.err == nil {
		d.commit(set)
	}
}

// is makes sure that all series of a result have one form.
func (d *decoder) is(f form) {
	if d.form != f && d.form != noForm {
		d.malformed("series of one kind")
	}
	d.form = f
}

// histogram skips native histograms, unless somebody has use for them: they are no numbers.
func (d *decoder) histogram(read func(*decoder)) {
	if d.native != nil {
		read(d)
		return
	}
	d.answer.drops[histogram]++
	d.skip()
}

// metric consumes the labels of a series and returns the number of the label set.
func (d *decoder) metric() int32 {
	if d.next() != '{' {
		d.malformed("an object of labels")
		return -1
	}
	if i, want := d.rows.guess(d.series); i >= 0 && d.follows(want) {
		return i
	}
	raw := d.raw()
	if d.err != nil {
		return -1
	}
	return d.labels(raw)
}

// follows consumes want and returns true if it comes next. Labels are an object, and no object
// begins with another: bytes that are the same are the same label set.
func (d *decoder) follows(want string) bool {
	d.keep = d.pos
	for d.end-d.pos < len(want) && d.more() {
	}
	d.keep = -1
	if d.end-d.pos < len(want) || string(d.buf[d.pos:d.pos+len(want)]) != want {
		return false
	}
	d.pos += len(want)
	return true
}

// labels returns the number of the label set that stands at this place.
func (d *decoder) labels(raw []byte) int32 {
	i, err := d.rows.find(d.series, raw)
	if err != nil {
		d.fail(err)
	}
	return i
}

// commit hands on the series at hand.
func (d *decoder) commit(set int32) {
	if len(d.points) > 0 {
		if err := d.rows.add(d.answer, set, d.points); err != nil {
			d.fail(err)
		}
	}
	if len(d.natives) > 0 {
		if err := d.native.addNative(d.answer, set, d.natives, d.buckets); err != nil {
			d.fail(err)
		}
	}
	d.series++
}

// samples reads [[1700000000.5,"1"],...].
func (d *decoder) samples() {
	d.expect('[')
	if d.take(']') {
		return
	}
	d.sample()
	for d.err == nil && d.take(',') {
		d.sample()
	}
	d.expect(']')
}

// sample reads [1700000000.5,"1"].
func (d *decoder) sample() {
	d.expect('[')
	d.sampleEnd()
}

// sampleEnd reads a sample behind its first bracket.
func (d *decoder) sampleEnd() {
	p := point{at: d.millis()}
	d.expect(',')
	p.value = d.number()
	d.expect(']')
	if d.err != nil {
		return
	}
	if d.roomFor(len(d.points)) {
		d.points = append(d.points, p)
	}
}

// roomFor makes sure that a series with so many values may have another.
func (d *decoder) roomFor(values int) bool {
	if values >= d.answer.maxData {
		d.fail(fmt.Errorf("%w: a series has more than %d values", errTooLarge, d.answer.maxData))
		return false
	}
	return true
}

// millis reads a time in seconds.
func (d *decoder) millis() int64 {
	raw := d.raw()
	if d.err != nil {
		return 0
	}
	ms, ok := parseMillis(raw)
	if !ok {
		d.malformed("a time")
	}
	return ms
}

// parseMillis returns a JSON number of seconds as milliseconds. All but a few are written
// with three digits behind the point at most; the others take the long way.
func parseMillis(raw []byte) (int64, bool) {
	var ms int64
	i := 0
	for ; i < len(raw) && i < 14 && '0' <= raw[i] && raw[i] <= '9'; i++ {
		ms = 10*ms + int64(raw[i]-'0')
	}
	ok := i > 0 && (raw[0] != '0' || i == 1)
	ms *= 1000
	if ok && i < len(raw) && raw[i] == '.' {
		i++
		ok = i < len(raw)
		for unit := int64(100); i < len(raw) && unit > 0 && '0' <= raw[i] && raw[i] <= '9'; i++ {
			ms += unit * int64(raw[i]-'0')
			unit /= 10
		}
	}
	if ok && i == len(raw) {
		return ms, true
	}
	var s float64
	if json.Unmarshal(raw, &s) != nil || math.Abs(s) > 1e12 {
		return 0, false
	}
	return int64(math.Round(s * 1000)), true
}

// number reads a value, which the API writes as a string.
func (d *decoder) number() float64 {
	raw, escaped := d.quoted()
	if d.err != nil {
		return 0
	}
	if escaped {
		raw = d.unquote(raw)
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		d.malformed("a number in quotes")
	}
	return v
}

// clean makes what a source says fit for a line in a log or a status page.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if len(text) <= maxMessage {
		return text
	}
	cut := maxMessage
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}
