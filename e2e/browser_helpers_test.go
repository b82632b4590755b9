package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// chromium is one browser process. Each person has a context of their own in it: own cookies, own
// cache, own history.
type chromium struct{ ctx context.Context }

// startChromium starts the browser, and ends it with the test.
func startChromium(t *testing.T) *chromium {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is not installed: run make test, it installs chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program),
		chromedp.Flag("headless", "new"),
		chromedp.NoSandbox, // the tests may run as root, where the sandbox refuses to start
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("proxy-server", "direct://"),
		chromedp.IgnoreCertErrors,
		chromedp.UserDataDir(t.TempDir()),
	)
	allocator, free := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		end()
		free()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	return &chromium{ctx}
}

// tab is one tab of one person's browser.
type tab struct {
	t   *testing.T
	ctx context.Context
	// base is the gateway's URL. It may be changed, to go to another gateway.
	base string

	mu         sync.Mutex
	complaints []string
}

// person opens a browser of somebody new.
func (c *chromium) person(t *testing.T, base string) *tab {
	t.Helper()
	return openTab(t, c.ctx, base, chromedp.WithNewBrowserContext())
}

// another opens a further tab of the same person: the cookies are shared.
func (b *tab) another() *tab {
	b.t.Helper()
	return openTab(b.t, b.ctx, b.base)
}

func openTab(t *testing.T, parent context.Context, base string, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t, base: base}
	ctx, end := chromedp.NewContext(parent, append(options, chromedp.WithListener(b.listen))...)
	b.ctx = ctx
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("a tab ends at %s, which says:\n%s", b.here(), b.text())
		}
		end()
		if all := b.complained(); len(all) > 0 {
			t.Errorf("the browser complains:\n%s", strings.Join(all, "\n"))
		}
	})
	// The first step has no deadline: the tab lives as long as that step's context. Tabs that are not in
	// front would get no focus, and no key.
	focus := cdpStep(emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	if err := chromedp.Do(ctx, focus); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	return b
}

// cdpStep makes a step of a protocol command whose result does not matter.
func cdpStep[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, command, params)
		return err
	})
}

// listen collects what a developer would see in the console: exceptions, blocked by
// Content-Security-Policy, errors, warnings. That an answer has status 403 is no fault of the page.
func (b *tab) listen(ev any) {
	var complaint string
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + ev.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		complaint = fmt.Sprintf("console.%s", ev.Type)
	case *log.EventEntryAdded:
		status := ev.Entry.Source == log.EntrySourceNetwork && strings.Contains(ev.Entry.Text, "the server responded with a status of")
		if status || ev.Entry.Level == log.EntryLevelInfo || ev.Entry.Level == log.EntryLevelVerbose {
			return
		}
		complaint = fmt.Sprintf("%s %s: %s %s", ev.Entry.Source, ev.Entry.Level, ev.Entry.Text, ev.Entry.URL)
	default:
		return
	}
	b.mu.Lock()
	b.complaints = append(b.complaints, complaint)
	b.mu.Unlock()
}

// complained gives the complaints so far and forgets them.
func (b *tab) complained() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.complaints
	b.complaints = nil
	return all
}

// patience bounds each wait for the browser. It is long: two cores run everything.
const patience = 20 * time.Second

func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// open types a path of the gateway into the address bar and gives the status of what is shown.
func (b *tab) open(path string) int {
	b.t.Helper()
	b.do("opening "+path, chromedp.Navigate(b.base+path))
	return b.status()
}

// try evaluates an expression in whatever page is there; ok is false while there is none.
func try[T any](b *tab, expression string) (value T, ok bool) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	return value, err == nil
}

// until waits for a condition in the page, over navigations.
func (b *tab) until(condition string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if holds, ok := try[bool](b, "Boolean("+condition+")"); ok && holds {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain at %s for %s", b.here(), condition)
		}
		time.Sleep(15 * time.Millisecond)
	}
}

// arrive waits until a page of this path has been loaded.
func (b *tab) arrive(path string) {
	b.t.Helper()
	b.until(fmt.Sprintf("location.pathname === %q && document.readyState === 'complete'", path))
}

// see waits for a text in the loaded page.
func (b *tab) see(text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.readyState === 'complete' && document.body.innerText.includes(%q)", text))
}

// here is the path and query of the page.
func (b *tab) here() string {
	got, _ := try[string](b, "location.pathname + location.search")
	return got
}

// text is what the page says.
func (b *tab) text() string {
	got, _ := try[string](b, "document.body.innerText")
	return got
}

// status is the HTTP status of the page.
func (b *tab) status() int {
	b.t.Helper()
	got, ok := try[int](b, "performance.getEntriesByType('navigation')[0].responseStatus")
	if !ok {
		b.t.Fatal("the page has no status")
	}
	return got
}

// click clicks what a selector finds.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.do("clicking "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// fill puts a text into an empty field, as a password manager would. press is slower, key by key.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.do("filling "+selector, chromedp.Focus(chromedp.CSS(selector)), cdpStep(input.InsertText, input.InsertTextParams{Text: text}))
}

// press presses keys, wherever the focus is.
func (b *tab) press(keys string) {
	b.t.Helper()
	b.do("pressing keys", chromedp.KeyEvent(keys))
}

// back presses the Back button. It does not wait: a page out of the browser's memory loads nothing.
func (b *tab) back() {
	b.t.Helper()
	if _, ok := try[bool](b, "setTimeout(() => history.back()), true"); !ok {
		b.t.Fatal("the page has no history")
	}
}

// cookie is the value of a cookie in the browser's store, HttpOnly or not; "" when there is none.
func (b *tab) cookie(name string) string {
	b.t.Helper()
	if c := b.cookies()[name]; c != nil {
		return c.Value
	}
	return ""
}

// cookies are all cookies the browser has for the gateway's host, by name.
func (b *tab) cookies() map[string]*network.Cookie {
	b.t.Helper()
	all := make(map[string]*network.Cookie)
	b.do("reading the cookies", func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		got, err := cdp.Call(ctx, target, network.GetCookies, network.GetCookiesParams{URLs: []string{b.base + "/"}})
		if err == nil {
			for _, c := range got.Cookies {
				all[c.Name] = c
				if strings.Contains(c.Name, "gatehouse") && c.Value != "" {
					said.secret(c.Value) // S04
				}
			}
		}
		return chromedp.Void{}, err
	})
	return all
}

// visitor is somebody with an account.
type visitor struct{ email, password, name string }

// typeLogin fills the login form that is shown, in whichever backend, and sends it with Enter.
func (b *tab) typeLogin(v visitor, password string) {
	b.t.Helper()
	said.secret(v.password)
	b.until("document.readyState === 'complete' && document.querySelector('input[type=password]')")
	b.fill("input[autocomplete=username]", v.email)
	b.fill("input[type=password]", password)
	b.press(kb.Enter)
}

// login opens a protected page, logs in at the form it leads to, and arrives at the page.
func (b *tab) login(path string, v visitor) {
	b.t.Helper()
	b.open(path)
	b.arrive("/login")
	b.typeLogin(v, v.password)
	want, _ := url.Parse(path)
	b.arrive(want.Path)
	if b.cookie("gatehouse")+b.cookie("__Host-gatehouse") == "" {
		b.t.Fatal("no session cookie after the login")
	}
}

// logout presses the application's own button.
func (b *tab) logout() {
	b.t.Helper()
	b.click("form[action='/logout'] button")
	b.arrive("/")
	if left := b.cookie("gatehouse") + b.cookie("__Host-gatehouse"); left != "" {
		b.t.Error("the session cookie is still there after the logout")
	}
}
