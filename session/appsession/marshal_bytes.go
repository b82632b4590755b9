package appsession

func (r *marshalReader) byte() (byte, error) {
	if r.data == "" {
		return 0, errMarshal
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b, nil
}

func (r *marshalReader) bytes() (string, error) {
	n, err := r.count(1)
	if err != nil {
		return "", err
	}
	text := r.data[:n]
	r.data = r.data[n:]
	return text, nil
}

// count reads a number of things that take at least size bytes each. More than the rest has room for is
// refused at once: no memory is set aside, and no time spent, for what a broken row only promises.
func (r *marshalReader) count(size int) (int, error) {
	n, err := r.long()
	if err != nil || n < 0 || n > len(r.data)/size {
		return 0, errMarshal
	}
	return n, nil
}

// long reads Marshal's integers: small ones are one byte, moved by 5 away from 0; else that byte tells how
// many follow, the lowest first, and its sign is the number's.
func (r *marshalReader) long() (int, error) {
	first, err := r.byte()
	if err != nil {
		return 0, err
	}
	c := int(int8(first)) // #nosec G115 -- the byte is a signed one
	switch {
	case c == 0:
		return 0, nil
	case c > 4:
		return c - 5, nil
	case c < -4:
		return c + 5, nil
	}
	length := max(c, -c)
	n := int64(0)
	if c < 0 {
		n = -1 << (8 * length)
	}
	for i := range length {
		b, err := r.byte()
		if err != nil {
			return 0, err
		}
		n |= int64(b) << (8 * i)
	}
	return int(n), nil
}
