package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// output is the format in which a verb prints; it implements pflag.Value.
type output struct {
	format  string
	formats []string
}

func (o *output) flag(cmd *cobra.Command, wide bool) {
	o.format, o.formats = "table", []string{"table", "json"}
	usage := "table or json"
	if wide {
		o.formats, usage = []string{"table", "wide", "json"}, "table, wide (a table with more columns) or json"
	}
	cmd.Flags().VarP(o, "output", "o", usage)
}

// String implements pflag.Value.
func (o *output) String() string { return o.format }

// Type implements pflag.Value.
func (o *output) Type() string { return "format" }

// Set implements pflag.Value.
func (o *output) Set(v string) error {
	if !slices.Contains(o.formats, v) {
		return fmt.Errorf("must be one of %s", strings.Join(o.formats, ", "))
	}
	o.format = v
	return nil
}

// table is the layout of rows; wide is the number of columns that only -o wide shows.
type table[T any] struct {
	header []string
	cells  func(T) []string
	wide   int
}

// print writes rows as JSON or as a table.
func (t table[T]) print(w io.Writer, o output, rows []T) error {
	if o.format == "json" {
		if rows == nil {
			rows = []T{}
		}
		return printJSON(w, rows)
	}
	columns := len(t.header)
	if o.format != "wide" {
		columns -= t.wide
	}
	tabs := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tabs, strings.Join(t.header[:columns], "\t"))
	for _, r := range rows {
		fmt.Fprintln(tabs, strings.Join(t.cells(r)[:columns], "\t"))
	}
	return tabs.Flush()
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printFields writes pairs of names and values, one pair a line, without empty values.
func printFields(w io.Writer, pairs ...string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			fmt.Fprintf(t, "%s:\t%s\n", pair[0], pair[1])
		}
	}
	return t.Flush()
}

// optionalTime is empty for nil.
func optionalTime(t *time.Time) string {
	if t == nil {
		return ""
	}
	return timeText(*t)
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
