package services

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// The forms of sizes and durations, for faults such as "storage: must be "+SizeForm.
const (
	SizeForm     = `a whole number and kB, MB, GB or TB, such as "500MB"`
	DurationForm = `a time of whole milliseconds, such as "30s" or "5m"`
)

// malformed marks a text that is not a size or duration.
const malformed = -1

// Size is a number of bytes. Configurations write it like PostgreSQL (its manual,
// "Parameter Names and Values"): a whole number and kB, MB, GB or TB, each 1024 of the one
// before. Only an absent key gives 0.
//
// A malformed text gives a negative size, for Validate to report, which knows the key.
type Size int64

// The units of a Size.
const (
	Kilobyte Size = 1 << (10 * (iota + 1))
	Megabyte
	Gigabyte
	Terabyte
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
	n, _ := strconv.ParseInt(m[1], 10, 64) // seven digits always fit
	unit := map[string]Size{"kB": Kilobyte, "MB": Megabyte, "GB": Gigabyte, "TB": Terabyte}[m[2]]
	if size := Size(n) * unit; size/unit == Size(n) { // 9999999TB overflow
		*s = size
	}
	return nil
}

// String is the size for people, rounded down: "1.2 GB".
func (s Size) String() string {
	for _, u := range []struct {
		size Size
		name string
	}{{Terabyte, "TB"}, {Gigabyte, "GB"}, {Megabyte, "MB"}, {Kilobyte, "kB"}} {
		if s < u.size {
			continue
		}
		whole, tenths := s/u.size, s%u.size*10/u.size
		if tenths == 0 {
			return fmt.Sprintf("%d %s", whole, u.name)
		}
		return fmt.Sprintf("%d.%d %s", whole, tenths, u.name)
	}
	return fmt.Sprintf("%d bytes", int64(s))
}

// Duration is a time of whole milliseconds, at least one. Configurations write it like Go:
// "30s", "5m", "1h30m". A malformed text gives a negative duration, like a Size.
type Duration time.Duration

// UnmarshalJSON reads a duration such as "30s".
func (d *Duration) UnmarshalJSON(data []byte) error {
	*d = malformed
	var text string
	if json.Unmarshal(data, &text) != nil {
		return nil
	}
	if parsed, err := time.ParseDuration(text); err == nil && parsed >= time.Millisecond && parsed%time.Millisecond == 0 {
		*d = Duration(parsed)
	}
	return nil
}
