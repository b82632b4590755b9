package pages_test

import (
	"fmt"
	"math"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/pages"
)

var variable = regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`)

// themes reads the colours out of the style sheet people get.
func themes(t *testing.T) map[string]map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	newPages(t, config.Pages{}).Login(w, request("GET", "/"), 200, pages.LoginView{Action: "/login"})
	style := parse(t, w.Body).one(t, "style").FirstChild.Data
	light, dark, ok := strings.Cut(style, "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("no dark theme")
	}
	found := map[string]map[string]string{"light": {}, "dark": {}}
	for name, part := range map[string]string{"light": light, "dark": dark} {
		for _, m := range variable.FindAllStringSubmatch(part, -1) {
			found[name][m[1]] = m[2]
		}
	}
	if len(found["light"]) == 0 || len(found["light"]) != len(found["dark"]) {
		t.Fatalf("%d light colours, %d dark ones", len(found["light"]), len(found["dark"]))
	}
	return found
}

// TestContrast holds WCAG 2.2 AA: 4.5:1 for text (1.4.3), 3:1 for the edges of inputs and the focus
// ring (1.4.11).
func TestContrast(t *testing.T) {
	t.Parallel()
	for theme, colours := range themes(t) {
		for _, c := range []struct {
			front, back string
			least       float64
		}{
			{"text", "card", 4.5}, {"text", "ground", 4.5}, {"quiet", "card", 4.5}, {"quiet", "ground", 4.5},
			{"accent", "card", 4.5}, {"accent-strong", "card", 4.5},
			{"on-accent", "accent", 4.5}, {"on-accent", "accent-strong", 4.5},
			{"alert", "alert-ground", 4.5},
			{"alert", "card", 4.5}, {"accent", "ground", 4.5}, {"accent-strong", "ground", 4.5},
			{"edge", "ground", 3}, {"edge", "card", 3}, {"focus", "card", 3}, {"accent", "ground", 3},
		} {
			t.Run(theme+"/"+c.front+" on "+c.back, func(t *testing.T) {
				t.Parallel()
				if got := contrast(t, colours[c.front], colours[c.back]); got < c.least {
					t.Errorf("%s on %s: %.2f:1, want %.1f:1", colours[c.front], colours[c.back], got, c.least)
				}
			})
		}
	}
}

func TestContrastFormula(t *testing.T) {
	t.Parallel()
	if got := fmt.Sprintf("%.2f %.2f %.2f", contrast(t, "#000000", "#ffffff"), contrast(t, "#777777", "#ffffff"), contrast(t, "#ff0000", "#ff0000")); got != "21.00 4.48 1.00" {
		t.Error(got)
	}
}

// contrast is the ratio of WCAG 2.2.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (math.Max(x, y) + 0.05) / (math.Min(x, y) + 0.05)
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 24)
	if err != nil {
		t.Fatalf("colour %q: %v", colour, err)
	}
	channel := func(v uint64) float64 {
		c := float64(v&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(n>>16) + 0.7152*channel(n>>8) + 0.0722*channel(n)
}
