package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// output is the format that a verb prints in.
type output string

func (o *output) flag(cmd *cobra.Command, wide bool) {
	*o = "table"
	usage, value := "table or json", pflag.Value(o)
	if wide {
		usage, value = "table, wide (a table with more columns) or json", (*wideOutput)(o)
	}
	cmd.Flags().VarP(value, "output", "o", usage)
}

// wideOutput is an output with one more format.
type wideOutput output

// String implements pflag.Value.
func (o *wideOutput) String() string { return string(*o) }

// Type implements pflag.Value.
func (o *wideOutput) Type() string { return "format" }

// Set implements pflag.Value.
func (o *wideOutput) Set(v string) error {
	if v != "wide" && (*output)(o).Set(v) != nil {
		return fmt.Errorf("must be table, wide or json")
	}
	*o = wideOutput(v)
	return nil
}

// String implements pflag.Value.
func (o *output) String() string { return string(*o) }

// Type implements pflag.Value.
func (o *output) Type() string { return "format" }

// Set implements pflag.Value.
func (o *output) Set(v string) error {
	if v != "table" && v != "json" {
		return fmt.Errorf("must be table or json")
	}
	*o = output(v)
	return nil
}

// print writes rows as JSON, or as a table of the given columns.
func printRows[T any](w io.Writer, o output, rows []T, header []string, cells func(T) []string) error {
	if o == "json" {
		if rows == nil {
			rows = []T{}
		}
		return printJSON(w, rows)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(cells(r), "\t"))
	}
	return t.Flush()
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printFields writes a list of names and values, one a line.
func printFields(w io.Writer, pairs ...string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(t, "%s:\t%s\n", pairs[i], pairs[i+1])
		}
	}
	return t.Flush()
}

// optionalTime is empty where there is none.
func optionalTime(t *time.Time) string {
	if t == nil {
		return ""
	}
	return timeText(*t)
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
