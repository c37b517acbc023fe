package s3

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
)

const (
	sizeForm = `a whole number and kB, MB, GB or TB, such as "500MB"`

	// malformed marks what could not be read: the plan's Validate reports it,
	// because only there its key is known.
	malformed = -1
)

// Size is a number of bytes, written as a whole number
// and kB, MB, GB or TB, each 1024 of the one before.
type Size int64

const (
	kilobyte Size = 1 << (10 * (iota + 1))
	megabyte
	gigabyte
	terabyte
)

var sizeRule = regexp.MustCompile(`^([1-9][0-9]{0,6})(kB|MB|GB|TB)$`)

// UnmarshalJSON reads a size such as "500MB".
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
		return err // seven digits always fit
	}
	unit := map[string]Size{"kB": kilobyte, "MB": megabyte, "GB": gigabyte, "TB": terabyte}[m[2]]
	if size := Size(n) * unit; size/unit == Size(n) { // 9999999TB overflow
		*s = size
	}
	return nil
}

// String is the size for people: "1.2 GB".
func (s Size) String() string {
	for _, u := range []struct {
		size Size
		name string
	}{{terabyte, "TB"}, {gigabyte, "GB"}, {megabyte, "MB"}} {
		if s < u.size {
			continue
		}
		whole, tenths := s/u.size, s%u.size*10/u.size
		if tenths == 0 {
			return fmt.Sprintf("%d %s", whole, u.name)
		}
		return fmt.Sprintf("%d.%d %s", whole, tenths, u.name)
	}
	return fmt.Sprintf("%d kB", s/kilobyte)
}
