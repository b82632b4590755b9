package password

// What OWASP's Password Storage Cheat Sheet asks for at least. See [Hash.Weak].
const (
	owaspBcrypt = 10
	// Iterations of PBKDF2. With SHA-1 no number is enough here: it is named for old systems only.
	owaspPBKDF2SHA256 = 600_000
	owaspPBKDF2SHA512 = 220_000
)

// owaspArgon2 are memory in KiB and passes, each pair as good as the others.
var owaspArgon2 = [][2]uint64{{47104, 1}, {19456, 2}, {12288, 3}, {9216, 4}, {7168, 5}}

// owaspScrypt are N × r (r is 8 there) and p, each pair as good as the others.
var owaspScrypt = [][2]uint64{{8 << 17, 1}, {8 << 16, 2}, {8 << 15, 3}, {8 << 14, 5}, {8 << 13, 10}}

// enough says whether memory and passes both reach those of one of the pairs.
func enough(pairs [][2]uint64, memory, passes uint64) bool {
	for _, p := range pairs {
		if memory >= p[0] && passes >= p[1] {
			return true
		}
	}
	return false
}
