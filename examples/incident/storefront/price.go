package main

import "regexp"

// Which items are reduced, by how many percent.
var reductions = []struct {
	items   string
	percent int
}{
	{`^(winter|summer)-(coat|hat|shoe)s?-[0-9]{2,8}$`, 30},
	{`^(?i)(book|paper|pen)s?(-\pL{1,20}){0,4}-[0-9]+$`, 10},
	{`^\pL{1,20}(-\pL{1,20}){0,4}-(sale|last)-[0-9]+$`, 50},
	{`^(?i)(garden|kitchen)-(\pL{1,20}-){1,3}[0-9]{1,6}$`, 20},
	{`^(?i)(red|green|blue)?-?\pL{2,30}-(xs|s|m|l|xl)-[0-9]{1,6}$`, 15},
}

func price(item string) int {
	return 100 * (100 - reduction(item)) / 100
}

func reduction(item string) int {
	most := 0
	for _, it := range reductions {
		if belongs(item, it.items) && it.percent > most {
			most = it.percent
		}
	}
	return most
}

// The first fault: looks like a comparison, and compiles the expression each time.
func belongs(item, items string) bool {
	return regexp.MustCompile(items).MatchString(item)
}
