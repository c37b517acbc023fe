package rabbitmq

import (
	"encoding/json"
	"regexp"
	"strconv"
)

// Size is a number of bytes, written as a whole number and kB, MB, GB or TB,
// each 1024 of the one before.
type Size int64

// malformed marks what could not be read: the plan's Validate reports it,
// because only there its key is known.
const malformed Size = -1

var sizeRule = regexp.MustCompile(`^([1-9][0-9]{0,5})(kB|MB|GB|TB)$`)

// UnmarshalJSON reads a size such as "64MB".
func (s *Size) UnmarshalJSON(data []byte) error {
	*s = malformed
	var text string
	if json.Unmarshal(data, &text) != nil {
		return nil
	}
	m := sizeRule.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return err // six digits always fit
	}
	shift := map[string]int{"kB": 10, "MB": 20, "GB": 30, "TB": 40}[m[2]]
	*s = Size(n << shift) // 999999TB fit
	return nil
}
