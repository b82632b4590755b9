package password

import (
	"crypto/md5" // #nosec G501 -- the format is what others have stored

	cryptbase64 "github.com/go-crypt/x/base64"
)

// md5CryptOrder is the order in which the bytes of the sum are written.
var md5CryptOrder = [md5.Size]int{12, 6, 0, 13, 7, 1, 14, 8, 2, 15, 9, 3, 5, 10, 4, 11}

// md5Crypt is Poul-Henning Kamp's algorithm of 1994 (FreeBSD's crypt-md5.c). The library has it for
// $1$ only, and Apache's differs in the magic, which is hashed too.
func md5Crypt(password, salt []byte, magic string) []byte {
	h := md5.New() // #nosec G401 -- the format is what others have stored
	h.Write(password)
	h.Write(salt)
	h.Write(password)
	inner := h.Sum(nil)

	h.Reset()
	h.Write(password)
	h.Write([]byte(magic))
	h.Write(salt)
	for rest := len(password); rest > 0; rest -= md5.Size {
		h.Write(inner[:min(rest, md5.Size)])
	}
	for bits := len(password); bits > 0; bits >>= 1 {
		if bits&1 == 1 {
			h.Write([]byte{0})
		} else {
			h.Write(password[:1])
		}
	}
	sum := h.Sum(nil)
	for round := range 1000 {
		sum = md5CryptRound(round, sum, password, salt)
	}

	ordered := make([]byte, md5.Size)
	for to, from := range md5CryptOrder {
		ordered[to] = sum[from]
	}
	return cryptbase64.EncodeCrypt(ordered)
}

func md5CryptRound(round int, sum, password, salt []byte) []byte {
	first, last := sum, password
	if round&1 == 1 {
		first, last = password, sum
	}
	h := md5.New() // #nosec G401 -- as above
	h.Write(first)
	if round%3 != 0 {
		h.Write(salt)
	}
	if round%7 != 0 {
		h.Write(password)
	}
	h.Write(last)
	return h.Sum(nil)
}
