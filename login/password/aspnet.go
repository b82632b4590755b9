package password

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ASP.NET Identity's hashes are base64 of bytes: a marker of the version, then
// version 2: 16 bytes of salt, 32 of key; PBKDF2 with SHA-1 and 1000 iterations;
// version 3: the hash's number, iterations and length of the salt in four bytes each, salt, key.
const (
	aspnetV2           = 0x00
	aspnetV2Salt       = 16
	aspnetV2Size       = 1 + aspnetV2Salt + 32
	aspnetV2Iterations = 1000
	aspnetV3           = 0x01
	aspnetV3Head       = 1 + 3*4
	// aspnetMin is the least size of salt and key in version 3 (PasswordHasher.cs refuses less).
	aspnetMin = 16
)

// aspnetPRFs are the hashes by KeyDerivationPrf.
var aspnetPRFs = []string{"sha1", "sha256", "sha512"}

func parseASPNET(text string) (Hash, error) {
	raw, ok := decode(padded, text, aspnetV3Head+2*aspnetMin, aspnetV3Head+maxSalt+maxKey)
	switch {
	case !ok:
		return Hash{}, errUnknown // any text may begin with A
	case raw[0] == aspnetV2 && len(raw) == aspnetV2Size:
		return newPBKDF2("sha1", aspnetV2Iterations, raw[1:1+aspnetV2Salt], raw[1+aspnetV2Salt:])
	case raw[0] == aspnetV3:
		return parseASPNETv3(raw)
	}
	return Hash{}, errUnknown
}

func parseASPNETv3(raw []byte) (Hash, error) {
	number, iterations, size := binary.BigEndian.Uint32(raw[1:]), binary.BigEndian.Uint32(raw[5:]), binary.BigEndian.Uint32(raw[9:])
	if int64(number) >= int64(len(aspnetPRFs)) {
		return Hash{}, fmt.Errorf("the ASP.NET Identity hash names hash function %d, which is not known; 0 to %d are", number, len(aspnetPRFs)-1)
	}
	rest := raw[aspnetV3Head:]
	if size < aspnetMin || size > maxSalt || int(size) > len(rest)-aspnetMin || len(rest)-int(size) > maxKey {
		return Hash{}, errors.New("the ASP.NET Identity hash is damaged; salt and key are 16 to 64 bytes each")
	}
	return newPBKDF2(aspnetPRFs[number], uint64(iterations), rest[:size], rest[size:])
}
