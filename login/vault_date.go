package login

import (
	"strconv"
	"strings"
	"time"
)

// parseCookieDate reads the Expires attribute by the algorithm of RFC 6265, section 5.1.1, which
// takes every form applications have ever sent. An expiry that is not understood would keep a cookie
// the application has deleted.
func parseCookieDate(s string) (time.Time, bool) {
	var d cookieDate
	for _, token := range strings.FieldsFunc(s, isDateDelimiter) {
		d.take(token)
	}
	if d.year >= 70 && d.year <= 99 {
		d.year += 1900
	} else if d.year >= 0 && d.year <= 69 && d.hasYear {
		d.year += 2000
	}
	if !d.hasTime || !d.hasDay || !d.hasYear || d.month == 0 ||
		d.day < 1 || d.day > 31 || d.year < 1601 || d.hour > 23 || d.minute > 59 || d.second > 59 {
		return time.Time{}, false
	}
	t := time.Date(d.year, d.month, d.day, d.hour, d.minute, d.second, 0, time.UTC)
	return t, t.Day() == d.day // 30 February is no date
}

type cookieDate struct {
	hour, minute, second, day, year int
	month                           time.Month
	hasTime, hasDay, hasYear        bool
}

// take gives a token to the first part that is still missing and that it fits.
func (d *cookieDate) take(token string) {
	if !d.hasTime && d.takeTime(token) {
		return
	}
	if n, ok := leadingNumber(token, 1, 2); !d.hasDay && ok {
		d.day, d.hasDay = n, true
		return
	}
	if m := monthOf(token); d.month == 0 && m != 0 {
		d.month = m
		return
	}
	if n, ok := leadingNumber(token, 2, 4); !d.hasYear && ok {
		d.year, d.hasYear = n, true
	}
}

func (d *cookieDate) takeTime(token string) bool {
	parts := strings.SplitN(token, ":", 3)
	if len(parts) != 3 {
		return false
	}
	hour, err1 := strconv.Atoi(parts[0])
	minute, err2 := strconv.Atoi(parts[1])
	second, ok := leadingNumber(parts[2], 1, 2)
	if err1 != nil || err2 != nil || !ok || len(parts[0]) > 2 || len(parts[1]) > 2 || hour < 0 || minute < 0 {
		return false
	}
	d.hour, d.minute, d.second, d.hasTime = hour, minute, second, true
	return true
}

// leadingNumber reads shortest to longest digits that no further digit follows.
func leadingNumber(s string, shortest, longest int) (int, bool) {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	if n < shortest || n > longest {
		return 0, false
	}
	v, err := strconv.Atoi(s[:n])
	return v, err == nil
}

func monthOf(s string) time.Month {
	if len(s) < 3 {
		return 0
	}
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(s[:3], m.String()[:3]) {
			return m
		}
	}
	return 0
}

func isDateDelimiter(r rune) bool {
	return r == '\t' || r >= 0x20 && r <= 0x2f || r >= 0x3b && r <= 0x40 || r >= 0x5b && r <= 0x60 || r >= 0x7b && r <= 0x7e
}
