package kernel

func tickAll(
	_ instructions, news, score, center, lower, upper []Lanes, b []Block, s []Season, y []Lanes, p *Params,
) {
	for i := range b {
		tick(&news[i], &score[i], &center[i], &lower[i], &upper[i], &b[i], &s[i], &y[i], p)
	}
}

func corroborateAll(
	_ instructions, score []Lanes, g []Group, said, ordinary []Lanes, p *GroupParams,
) {
	for i := range g {
		corroborate(&score[i], &g[i], &said[i], &ordinary[i], p)
	}
}
