package soak

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// measure is something that must not grow.
type measure struct {
	name, metric string
	// slack that the last quarter may be above the second, beside growthPercent: what comes and goes by chance.
	slack float64
	unit  float64
}

var measures = []measure{
	{"goroutines", "go_goroutines", 25, 1},
	{"memory, MiB", "process_resident_memory_bytes", 8 << 20, 1 << 20},
	{"descriptors", "process_open_fds", 25, 1},
}

const (
	growthPercent = 10
	// judged is the shortest run whose flatness means something: in the first minutes the heap finds its size.
	judged = 4 * time.Minute
)

// reading is one look at one gateway: a value for each measure.
type reading []float64

// watch reads the gateways every so often until ctx ends. A look that fails is left out: the gateway is busy
// with an outage, not gone, or the crowd would tell.
func watch(ctx context.Context, t *testing.T, gateways []*gateway, every time.Duration) (samples [][]reading) {
	samples = make([][]reading, len(gateways))
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return samples
		case <-tick.C:
		}
		for i, g := range gateways {
			all, err := g.metrics()
			if err != nil {
				t.Logf("%s: %v", g.name, err)
				continue
			}
			var r reading
			for _, m := range measures {
				r = append(r, all[m.metric])
			}
			samples[i] = append(samples[i], r)
		}
	}
}

// judge compares the medians of the second and the last quarter. The first is for warming up.
func judge(gateways []*gateway, samples [][]reading) (table string, flat bool) {
	var out strings.Builder
	fmt.Fprintf(&out, "| | | first quarter | second | third | last | verdict |\n|---|---|---:|---:|---:|---:|---|\n")
	flat = true
	for i, g := range gateways {
		for j, m := range measures {
			var quarters [4]float64
			for q := range quarters {
				quarters[q] = median(quarter(samples[i], q), j)
			}
			verdict := "flat"
			if !m.isFlat(quarters[1], quarters[3]) {
				verdict, flat = "GROWS", false
			}
			fmt.Fprintf(&out, "| %s | %s |", g.name, m.name)
			for _, v := range quarters {
				fmt.Fprintf(&out, " %.0f |", v/m.unit)
			}
			fmt.Fprintf(&out, " %s |\n", verdict)
		}
	}
	fmt.Fprintf(&out, "\nMedians. Flat: the last quarter is at most %d %% above the second, and a slack of", growthPercent)
	for _, m := range measures {
		fmt.Fprintf(&out, " %.0f (%s)", m.slack/m.unit, m.name)
	}
	return out.String() + "\n", flat
}

// isFlat needs something to have been measured: nothing is not flat.
func (m measure) isFlat(second, last float64) bool {
	return second > 0 && last > 0 && last <= second*(1+growthPercent/100.0)+m.slack
}

func quarter(all []reading, q int) []reading { return all[len(all)*q/4 : len(all)*(q+1)/4] }

func median(readings []reading, measure int) float64 {
	if len(readings) == 0 {
		return 0
	}
	var values []float64
	for _, r := range readings {
		values = append(values, r[measure])
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	series := func(f func(i int) float64) (all [][]reading) {
		var one []reading
		for i := range 100 {
			one = append(one, reading{f(i), 50 << 20, 100})
		}
		return [][]reading{one}
	}
	for name, c := range map[string]struct {
		f    func(i int) float64
		flat bool
	}{
		"the same":              {func(int) float64 { return 300 }, true},
		"up and down":           {func(i int) float64 { return 300 + float64(i%7)*10 }, true},
		"one peak":              {func(i int) float64 { return 300 + float64(i/99)*10000 }, true},
		"grows":                 {func(i int) float64 { return 300 + float64(i)*3 }, false},
		"grows in the first":    {func(i int) float64 { return 300 + float64(min(i, 25))*30 }, true},
		"shrinks":               {func(i int) float64 { return 3000 - float64(i)*3 }, true},
		"is not there":          {func(int) float64 { return 0 }, false},
		"a leak of one a step":  {func(i int) float64 { return 100 + float64(i) }, false},
		"less than the slack":   {func(i int) float64 { return 100 + float64(i)/10 }, true},
		"stops being told of":   {func(i int) float64 { return max(0, 300-float64(i/75)*300) }, false},
		"falls and comes again": {func(i int) float64 { return 300 - float64(i/25%2)*100 }, true},
	} {
		table, flat := judge([]*gateway{{name: "g"}}, series(c.f))
		if flat != c.flat || flat == strings.Contains(table, "GROWS") {
			t.Errorf("%s: flat %v\n%s", name, flat, table)
		}
	}
	if _, flat := judge([]*gateway{{name: "g"}}, [][]reading{nil}); flat {
		t.Error("nothing was measured, and that is flat")
	}
}
