package login

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mileusna/useragent"
)

const (
	unknownDevice = "Unknown device"
	// maxDeviceWord bounds each word taken over from a User-Agent, in characters. No browser, program or phone has
	// a longer name; what is longer is a text meant for the reader of the page.
	maxDeviceWord = 40
)

// device puts a User-Agent into words: "Firefox on Windows", "Chrome on Android (Pixel 7)", "Safari on iPhone",
// "curl". It is what the client says of itself, no proof of anything.
func device(userAgent string) string {
	ua := useragent.Parse(plainText(userAgent))
	name, system, model := deviceWord(ua.Name), deviceWord(ua.OS), deviceWord(ua.Device)
	if ua.Version == "" && (system != "" || strings.ContainsAny(name, " /")) {
		name = "" // a guess of the library's among words that are no names, such as "Win64"
	}
	switch model {
	case "iPhone", "iPad":
		system, model = model, ""
	case "K": // what Chrome tells on every Android device since 2023
		model = ""
	}
	switch {
	case name == "" && system == "":
		return unknownDevice
	case system == "":
		return name
	case name == "":
		name = "Unknown browser"
	}
	if model == "" || model == system {
		return name + " on " + system
	}
	return name + " on " + system + " (" + model + ")"
}

// plainText drops what is not printed: a reordering mark in it could turn the words around.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// deviceWord gives a word if it may be a name, else "".
func deviceWord(s string) string {
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) > maxDeviceWord || !strings.ContainsFunc(s, unicode.IsLetter) {
		return ""
	}
	return s
}
