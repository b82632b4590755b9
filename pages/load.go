package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

//go:embed embedded
var embedded embed.FS

const (
	layoutFile = "layout.html"
	styleFile  = "style.css"
)

// known are the files that exist, embedded, and may be replaced.
var known = []string{layoutFile, "login.html", "logout.html", "sessions.html", "problem.html", styleFile}

// source is the text of each known file.
type source map[string]string

// load reads the embedded files, then those of the folder over them.
func load(folder string) (source, error) {
	files := source{}
	for _, name := range known {
		text, err := embedded.ReadFile("embedded/" + name)
		if err != nil {
			return nil, fmt.Errorf("pages: embedded %s: %w", name, err)
		}
		files[name] = string(text)
	}
	if folder == "" {
		return files, nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("pages.templates: cannot read the folder of templates: %w", err)
	}
	var problems []error
	for _, entry := range entries {
		name := entry.Name()
		// A mounted ConfigMap keeps its versions in folders named ..data and ..2026_01_02.
		if strings.HasPrefix(name, ".") {
			continue
		}
		if !slices.Contains(known, name) {
			problems = append(problems, fmt.Errorf("pages.templates: %s is no page; the names are %s",
				filepath.Join(folder, name), strings.Join(known, ", ")))
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			problems = append(problems, fmt.Errorf("pages.templates: %w", err))
			continue
		}
		files[name] = string(text)
	}
	return files, errors.Join(problems...)
}

// page parses one page with its layout, executes it once with each sample, and works out its policy.
// The errors of html/template name file and line by themselves.
func (files source) page(name string, samples []any) (page, error) {
	fail := func(err error) (page, error) { return page{}, fmt.Errorf("pages.templates: %w", err) }
	t, err := template.New(layoutFile).Parse(files[layoutFile])
	if err != nil {
		return fail(err)
	}
	if t, err = t.New(name).Parse(files[name]); err != nil {
		return fail(err)
	}
	var hashes []string
	for _, sample := range samples {
		var out bytes.Buffer
		if err := t.Execute(&out, sample); err != nil {
			return fail(err)
		}
		found, err := inspect(&out)
		if err != nil {
			return fail(fmt.Errorf("%s: %w", name, err))
		}
		for _, hash := range found {
			if !slices.Contains(hashes, hash) {
				hashes = append(hashes, hash)
			}
		}
	}
	return page{name: name, template: t, policy: policy(hashes)}, nil
}

// policy allows the page's own style and forms that post to the gateway, and nothing else: even if
// somebody's text broke out of the escaping it could load, run and send nothing, and no other site
// can lay the login form under its own buttons.
func policy(styles []string) string {
	style := "'none'"
	if len(styles) > 0 {
		style = strings.Join(styles, " ")
	}
	return "default-src 'none'; style-src " + style +
		"; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
}

// inspect gives the CSP hash of every <style> of a page, and an error for what the policy would
// block silently. It hashes what a parser reads, as browsers do: line ends are normalised by then.
func inspect(page *bytes.Buffer) ([]string, error) {
	root, err := html.Parse(page)
	if err != nil {
		return nil, err
	}
	var hashes []string
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "style" {
			sum := sha256.Sum256([]byte(text(n)))
			hashes = append(hashes, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
		}
		if what := blocked(n); what != "" {
			return nil, fmt.Errorf("%s is blocked by the pages' Content-Security-Policy; "+
				"use a <style> element, style.css or inline <svg>, and no script", what)
		}
	}
	return hashes, nil
}

// blocked names what the policy forbids in n, or gives "".
func blocked(n *html.Node) string {
	switch n.Data {
	case "script", "link", "base", "iframe", "frame", "object", "embed", "img", "video", "audio":
		return "<" + n.Data + ">"
	}
	for _, a := range n.Attr {
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
			return fmt.Sprintf("the attribute %s of <%s>", a.Key, n.Data)
		}
	}
	return ""
}

// checkLogin refuses a login page nobody could log in with.
func (files source) checkLogin(p page, sample any) error {
	var out bytes.Buffer
	if err := p.template.Execute(&out, sample); err != nil {
		return fmt.Errorf("pages.templates: %w", err)
	}
	root, err := html.Parse(&out)
	if err != nil {
		return fmt.Errorf("pages.templates: login.html: %w", err)
	}
	posts := false
	var inputs []string
	for n := range root.Descendants() {
		switch n.Data {
		case "form":
			posts = posts || strings.EqualFold(attribute(n, "method"), "post")
		case "input":
			inputs = append(inputs, attribute(n, "name"))
		}
	}
	if !posts {
		return errors.New(`pages.templates: login.html has no <form method="post">, so nobody could log in`)
	}
	for _, name := range []string{FieldAccount, FieldPassword, FieldNext} {
		if !slices.Contains(inputs, name) {
			return fmt.Errorf("pages.templates: login.html has no <input name=%q>, so nobody could log in", name)
		}
	}
	return nil
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}
