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

// checker reads one file and collects its faults.
type checker struct {
	file   string
	getenv lookup
	faults Faults
	nodes  int
	// reported are the faults that once has added.
	reported map[string]bool
	// namesOnly lets variables be unset, because their values are not used.
	namesOnly bool
	// left are services, and plans as service/plan, that leave removed.
	left map[string]bool
	// deliveries is the section "delivery", for the keys of that name.
	deliveries Deliveries
	// hasBackups says that the file has the section "backups".
	hasBackups bool
	// storeOptional says that plans go without backups as long as no store is configured, and
	// withoutBackups names those.
	storeOptional  bool
	withoutBackups []string
	// schemas are those of backends, by their definitions' names.
	schemas map[string]schemas
}

func (c *checker) add(line int, path, format string, args ...any) {
	c.faults = append(c.faults, Fault{File: c.file, Line: line, Path: path, Message: fmt.Sprintf(format, args...)})
}

// once adds a fault that every further value would repeat.
func (c *checker) once(line int, format string, args ...any) {
	if !c.reported[format] {
		c.reported[format] = true
		c.add(line, "", format, args...)
	}
}

// wrong adds a fault of a value, and the variables that the value is from.
func (c *checker) wrong(n *node, format string, args ...any) {
	if n.unknown {
		return
	}
	message := fmt.Sprintf(format, args...)
	if len(n.variables) > 0 {
		message += " (the value is from ${" + strings.Join(n.variables, "}, ${") + "})"
	}
	c.add(n.line, n.path, "%s", message)
}

// show quotes a value, unless it is the environment's.
func show(n *node) string {
	if len(n.variables) > 0 {
		return "the value"
	}
	return quote(n.text)
}

// unique reports a text that seen has already; seen maps texts to their places.
func (c *checker) unique(n *node, text string, seen map[string]*node) {
	if n == nil || text == "" {
		return
	}
	if first, ok := seen[text]; ok {
		c.wrong(n, "%s is already used by %s on line %d; each must be unique", show(n), first.path, first.line)
		return
	}
	seen[text] = n
}
