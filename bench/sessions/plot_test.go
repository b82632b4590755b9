package sessions

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-analyze/charts"
)

// plotted are the operations that ask Redis: those in memory would lie on the axis.
var plotted = []string{opMiss, opCreate, opTouch, opRevoke, opList, opRevokeUser}

// plot draws the medians of the operations above what a session takes of memory, as SVG.
func plot(results []result) ([]byte, error) {
	const width, height = 900, 760
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: width, Height: height})
	p.FilledRect(0, 0, width, height, charts.ColorWhite, charts.ColorWhite, 0)
	parts, err := p.LayoutByGrid(1, 2).CellAt("time", 0, 0).CellAt("memory", 0, 1).Build()
	if err != nil {
		return nil, err
	}
	if err := parts["time"].LineChart(times(results)); err != nil {
		return nil, err
	}
	if err := parts["memory"].BarChart(memories(results)); err != nil {
		return nil, err
	}
	return p.Bytes()
}

func labels(results []result) (all []string) {
	for _, r := range results {
		all = append(all, count(r.Sessions)+" sessions")
	}
	return all
}

func times(results []result) charts.LineChartOption {
	values := make([][]float64, len(plotted))
	for i, name := range plotted {
		for _, r := range results {
			values[i] = append(values[i], r.Operations[name].P50/1e3)
		}
	}
	o := charts.NewLineChartOptionWithData(values)
	o.Padding = charts.NewBoxEqual(20)
	o.Title.Text = "Median time, µs"
	o.Legend.SeriesNames, o.Legend.Padding = plotted, charts.Box{Left: 160}
	o.XAxis.Labels = labels(results)
	o.YAxis = []charts.YAxisOption{{Min: charts.Ptr(0.0)}}
	return o
}

func memories(results []result) charts.BarChartOption {
	names := []string{"Redis", "replica, heap", "replica, resident", "counted against cache_size"}
	values := make([][]float64, len(names))
	for _, r := range results {
		for i, n := range []int{r.Redis, r.Heap, r.RSS, r.Counted} {
			values[i] = append(values[i], float64(max(n, 0)))
		}
	}
	o := charts.NewBarChartOptionWithData(values)
	o.Padding = charts.NewBoxEqual(20)
	o.Title.Text = "Memory for each session, bytes"
	o.Legend.SeriesNames, o.Legend.Padding = names, charts.Box{Left: 280}
	o.CategoryAxis.Labels = labels(results)
	o.ValueAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0)}} // bars that begin elsewhere lie
	return o
}

func TestPlot(t *testing.T) {
	t.Parallel()
	svg, err := plot([]result{example(1000), example(100_000)})
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range append([]string{"<svg", "Median time", "Memory for each session", "1,000 sessions", "100,000 sessions", "replica, heap"}, plotted...) {
		if !strings.Contains(string(svg), want) {
			t.Errorf("%q is not in the plot", want)
		}
	}
}
