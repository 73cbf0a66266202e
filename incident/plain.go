package incident

import (
	"math"
	"strconv"
	"strings"
	"time"

	"tocsin/detector"
)

// Plain writes a value of a signal the way people say it: 180ms, 12.4%, 1.5MiB, 230/s. A ratio
// and a saturation are shares and become per cent, whatever their unit is called.
func Plain(v float64, unit string, kind detector.Kind) string {
	switch {
	case math.IsNaN(v):
		return "no data"
	case math.IsInf(v, 0):
		return "beyond measure"
	case kind == detector.Ratio || kind == detector.Saturation:
		return plainNumber(v*100) + "%"
	case unit == "%":
		return plainNumber(v) + "%"
	case isSeconds(unit):
		return plainSeconds(v)
	case unit == "bytes" || unit == "B":
		return plainBytes(v)
	case unit == "bytes/s" || unit == "B/s":
		return plainBytes(v) + "/s"
	case strings.HasSuffix(unit, "/s") || kind == detector.Rate && unit == "":
		return plainNumber(v) + "/s"
	case unit == "":
		return plainNumber(v)
	}
	return plainNumber(v) + " " + unit
}

// Difference writes how far observed is from expected, in the signal's unit and as a multiple or
// a share: "+1.92s (11.7 times)", "-60/s (75% less)", "+12.1 points (41 times)".
func Difference(observed, expected float64, unit string, kind detector.Kind) string {
	d := observed - expected
	if math.IsNaN(d) || math.IsInf(d, 0) {
		return "unknown"
	}
	sign := "+"
	if d < 0 {
		sign = "-"
	}
	text := sign + Plain(math.Abs(d), unit, kind)
	if strings.HasSuffix(text, "%") {
		text = strings.TrimSuffix(text, "%") + " points"
	}
	if relative := plainRelative(observed, expected); relative != "" {
		text += " (" + relative + ")"
	}
	return text
}

// plainRelative compares two values of one sign; it is empty where the comparison says nothing.
func plainRelative(observed, expected float64) string {
	if expected <= 0 || observed < 0 {
		return ""
	}
	switch x := observed / expected; {
	case x > 1000:
		return ""
	case x >= 2:
		return plainNumber(x) + " times"
	case x >= 1:
		return plainNumber((x-1)*100) + "% more"
	default:
		return plainNumber((1-x)*100) + "% less"
	}
}

// PlainDuration writes a duration in its two largest units: 3m20s, 1h5m, 2d4h.
func PlainDuration(d time.Duration) string {
	if d < 0 {
		return "-" + PlainDuration(d.Abs()) // The negative of the smallest would be itself.
	}
	switch {
	case d < time.Second:
		return plainSeconds(d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
	case d < 24*time.Hour:
		d = d.Round(time.Minute)
	default:
		d = d.Round(time.Hour)
	}
	var b strings.Builder
	for _, u := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / u.size; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d -= n * u.size
		}
	}
	return b.String()
}

func isSeconds(unit string) bool { return unit == "s" || unit == "seconds" }

func plainSeconds(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0s"
	case a < 0.9995e-3:
		return plainNumber(v*1e6) + "µs"
	case a < 0.9995:
		return plainNumber(v*1e3) + "ms"
	case a < 120:
		return plainNumber(v) + "s"
	case a > 1e9: // A time.Duration would overflow.
		return plainNumber(v) + "s"
	}
	return PlainDuration(time.Duration(v * float64(time.Second)))
}

func plainBytes(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for ; math.Abs(v) >= 1023.5 && i < len(units)-1; i++ {
		v /= 1024
	}
	return plainNumber(v) + units[i]
}

// plainNumber writes three significant digits, never with an exponent below a billion.
func plainNumber(v float64) string {
	a := math.Abs(v)
	switch {
	case a == 0:
		return "0"
	case a < 0.001:
		return strconv.FormatFloat(v, 'g', 2, 64)
	case a >= 1e9:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	digits := 2
	for x := a; x >= 10; x /= 10 {
		digits--
	}
	for x := a; x < 1; x *= 10 {
		digits++
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}
