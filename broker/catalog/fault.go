package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Fault is one fault of a catalog. It never contains a value of the environment.
type Fault struct {
	File string
	// Line counts from 1; it is 0 if the fault has no place in the file.
	Line int
	// Path is where in the file, such as services[0].plans[1].id; empty for
	// the file as a whole.
	Path string
	// Message says what is wrong and what to do.
	Message string
}

// Error returns "file:line: path: message".
func (f Fault) Error() string {
	place := f.File
	if f.Line > 0 {
		place += ":" + strconv.Itoa(f.Line)
	}
	if f.Path != "" {
		place += ": " + f.Path
	}
	return place + ": " + f.Message
}

// Faults are all faults of a catalog, in the file's order.
type Faults []Fault

// Error returns the faults, one on each line.
func (f Faults) Error() string {
	return strings.Join(each(f, Fault.Error), "\n")
}

// err returns the faults sorted, if there are any.
func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return slices.Compact(f)
}

const longestQuote = 60

// quote shows a value in a message: on one line, and shortened.
func quote(s string) string {
	if len(s) > longestQuote {
		s = strings.ToValidUTF8(s[:longestQuote], "") + "…"
	}
	return strconv.Quote(s)
}

// list joins words for a message: "a, b and c".
func list(words []string) string {
	switch n := len(words); n {
	case 0:
		return "none"
	case 1:
		return words[0]
	default:
		return fmt.Sprintf("%s and %s", strings.Join(words[:n-1], ", "), words[n-1])
	}
}
