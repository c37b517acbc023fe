package catalog

import (
	"fmt"
	"strings"
)

// checker reads one file and collects its faults.
type checker struct {
	file   string
	getenv func(string) (string, bool)
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
