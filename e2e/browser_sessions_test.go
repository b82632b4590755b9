package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"gatehouse/internal/testredis"
)

// TestBrowserSessions goes the ways of somebody who looks after their own sessions, in Chromium.
func TestBrowserSessions(t *testing.T) {
	h := &house{startChromium(t), testredis.Start(t)}
	t.Run("group", func(t *testing.T) {
		for name, way := range map[string]func(*testing.T, *house){
			"lost telephone": testLostTelephone,
			"keyboard only":  testSessionsKeyboard,
			"every width":    testSessionsWidths,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				way(t, h)
			})
		}
		for _, l := range []loginWay{fileLogin(), appLogin()} {
			t.Run("end all/"+l.backend, func(t *testing.T) {
				t.Parallel()
				testEndAll(t, h, l)
			})
		}
	})
}

// ends presses the button of the n-th session of the page, this one being the first.
func (b *tab) ends(n int) {
	b.t.Helper()
	b.click(fmt.Sprintf(".sessions li:nth-child(%d) button", n))
}

// testLostTelephone: a session is ended from another device, which stays logged in. Neither reloading the page nor
// going back ends anything more.
func testLostTelephone(t *testing.T, h *house) {
	l := fileLogin()
	g := h.gateway(t, l.backend)
	lost := newBrowser(t, g.url)
	lost.headers.Set("User-Agent", "Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36")
	lost.login(l.user.email, l.user.password)
	b := h.person(t, g.url)
	b.login(sessionsPage, l.user) // which leads to the login, and back
	b.see("Chrome on Android (Pixel 7)")
	b.see("Headless Chrome on Linux")
	b.see("This session")
	b.ends(2)
	b.see("That session has ended.")
	if got := b.here(); got != sessionsPage+"?done=one" {
		t.Errorf("the button leads to %s", got)
	}
	b.until("document.querySelectorAll('.sessions li').length === 1 && document.querySelectorAll('.bulk').length === 0")
	if lost.passes(g) {
		t.Error("the lost telephone is still logged in")
	}
	lost.login(l.user.email, l.user.password)
	b.do("reloading", chromedp.Reload())
	b.until("document.querySelectorAll('.sessions li').length === 2")
	if !lost.passes(g) {
		t.Error("reloading the page has ended a session again")
	}
	b.click(".bulk form:first-child button")
	b.see("All your other sessions have ended.")
	if lost.passes(g) || b.open("/account") != http.StatusOK || b.here() != "/account" {
		t.Error("the others should have ended, and this one not")
	}
}

func testEndAll(t *testing.T, h *house, l loginWay) {
	g := h.gateway(t, l.backend)
	b, other := h.person(t, g.url), h.person(t, g.url)
	b.login("/account", l.user)
	other.login("/account", l.user)
	b.open(sessionsPage)
	b.see("Where " + l.user.name + " is logged in.")
	b.click(".bulk form:last-child button")
	b.until("location.pathname !== '/.gatehouse/sessions' && document.readyState === 'complete'")
	if b.cookie("gatehouse") != "" {
		t.Error("the cookie is still there")
	}
	for _, one := range []*tab{b, other} {
		one.open("/account")
		one.arrive("/login")
	}
	b.back() // S13: what was on the page is not shown again
	b.until("!document.body.innerText.includes('This session')")
}

// testSessionsKeyboard: no mouse, and at each step one sees where one is.
func testSessionsKeyboard(t *testing.T, h *house) {
	l := fileLogin()
	g := h.gateway(t, l.backend)
	other := newBrowser(t, g.url)
	other.login(l.user.email, l.user.password)
	b := h.person(t, g.url)
	b.login(sessionsPage, l.user)
	for _, selector := range []string{".sessions li:nth-child(1) button", ".sessions li:nth-child(2) button", ".bulk form:first-child button", ".bulk form:last-child button", ".facts a"} {
		b.press(kb.Tab)
		b.until(fmt.Sprintf(`document.activeElement.matches(%q) && document.activeElement.matches(':focus-visible') &&
			getComputedStyle(document.activeElement).outlineStyle === 'solid'`, selector))
	}
	for range 3 {
		b.press(kb.Shift + kb.Tab)
	}
	b.do("focusing", chromedp.Focus(chromedp.CSS(".sessions li:nth-child(2) button")))
	b.press(kb.Enter)
	b.see("That session has ended.")
	if other.passes(g) {
		t.Error("Enter has ended nothing")
	}
}

// testSessionsWidths: from a small telephone to a desk, in light and dark, with names and devices of any length: all
// of the page is inside the window, and every button can be hit.
func testSessionsWidths(t *testing.T, h *house) {
	l := fileLogin()
	g := h.gateway(t, l.backend)
	for _, userAgent := range []string{
		"Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
		"curl/8.5.0", "", strings.Repeat("Unbreakable", 3) + "/1.0 (Linux; Android 14; " + strings.Repeat("Model", 7) + ") " + strings.Repeat("x", 300),
	} {
		other := newBrowser(t, g.url)
		other.headers.Set("User-Agent", userAgent)
		other.login(l.user.email, l.user.password)
	}
	b := h.person(t, g.url)
	b.login(sessionsPage, l.user)
	b.open(sessionsPage + "?done=one") // as typed into the address bar, which shows no message
	for _, scheme := range []string{"light", "dark"} {
		b.do("choosing "+scheme, cdpStep(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}))
		for _, width := range []int64{320, 600, 1000} {
			b.do("resizing", chromedp.EmulateViewport(width, 900))
			b.until("document.querySelectorAll('.sessions li').length === 5")
			b.until(`document.documentElement.scrollWidth <= innerWidth && Array.from(document.querySelectorAll('main *')).every(e => {
				const r = e.getBoundingClientRect(); return r.left >= 0 && r.right <= innerWidth + .5 && e.scrollWidth <= e.clientWidth + 1 || getComputedStyle(e).display === 'inline' })`)
			b.until("Array.from(document.querySelectorAll('button')).every(e => e.getBoundingClientRect().height >= 24)")
			b.picture(t, fmt.Sprintf("sessions-%s-%d.png", scheme, width))
		}
	}
	if text := b.text(); strings.Contains(text, "has ended.") || !strings.Contains(text, "Unknown device") {
		t.Errorf("the page says\n%s", text)
	}
}

// picture keeps what the tab shows, for people to look at, when SCREENSHOTS names a folder.
func (b *tab) picture(t *testing.T, name string) {
	t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), png, 0o600); err != nil {
		t.Fatal(err)
	}
}
