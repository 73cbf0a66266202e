package budget

// Levels is the number of scores at which pages are counted: every quarter from 2 to 8, every half
// to 12, every second to 30.
const Levels = 42

const (
	lowest    = 2.0
	quarters  = 24 // The index of 8,
	halves    = 32 // and of 12.
	tenthRoot = 0.5623413251903491
)

// Level returns the score of level i.
func Level(i int) float64 {
	switch {
	case i <= quarters:
		return lowest + float64(i)/4
	case i <= halves:
		return 8 + float64(i-quarters)/2
	}
	return 12 + 2*float64(i-halves)
}

// level returns the highest level that is at most score, -1 if there is none.
func level(score float64) int {
	switch {
	case !(score >= lowest):
		return -1
	case score < 8:
		return int((score - lowest) * 4)
	case score < 12:
		return quarters + int((score-8)*2)
	}
	return min(halves+int((score-12)/2), Levels-1)
}

// tail returns 10^-Level(i), by multiplications only, so that it is the same on every machine.
func tail(i int) float64 {
	p := 0.01
	for range int((Level(i) - lowest) * 4) {
		p = float64(p * tenthRoot)
	}
	return p
}
