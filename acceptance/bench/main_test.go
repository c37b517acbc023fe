// Package bench_test measures the broker against what it stands on, side by side
// in one run, so that the ratios hold on any machine:
//
//	go test -run '^$' -bench . -benchtime 1x ./acceptance/bench
//
// A table at the end says which goals were met. Nothing here fails for being
// slow.
package bench_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/embedded/openstack"
)

func TestMain(m *testing.M) {
	rig.BeServer()
	beStage()
	if file := os.Getenv(plainHandler); file != "" {
		fmt.Fprintln(os.Stderr, servePlain(file))
		os.Exit(1)
	}
	os.Exit(measure(m))
}

// folder is for the binary; it goes when the benchmarks have run.
var folder string

func measure(m *testing.M) (code int) {
	var err error
	if folder, err = os.MkdirTemp("", "chandler-bench-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	if err := os.Chmod(folder, 0o711); err != nil { // servers run as users of their own
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer table.print()
	return m.Run()
}

// results collects the lines of the table.
type results struct {
	mu    sync.Mutex
	lines []string
}

// table is filled by the benchmarks, which have no other way to reach the end of
// the run.
var table results

// add adds a line; a goal that is empty makes it one to compare with.
func (r *results) add(what, measured, goal string, met bool) {
	verdict := ""
	if goal != "" {
		if verdict = "met"; !met {
			verdict = "MISSED"
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, what+"\t"+measured+"\t"+goal+"\t"+verdict)
}

func (r *results) print() {
	if len(r.lines) == 0 {
		return
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nWHAT\tMEASURED\tGOAL\t")
	for _, line := range r.lines {
		fmt.Fprintln(w, line)
	}
	_ = w.Flush()
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

// program builds the binary as it is shipped, once for all benchmarks.
var program = sync.OnceValues(func() (string, error) { return rig.Build(context.Background(), folder, false) })

// deploy makes a deployment that ends with the benchmark. Its servers wait for
// the disk, as in production.
func deploy(b *testing.B, o rig.Options) *rig.Deployment {
	b.Helper()
	var err error
	if o.Binary, err = program(); err != nil {
		b.Fatal(err)
	}
	if o.Dir, err = os.MkdirTemp(folder, "deployment-"); err != nil {
		b.Fatal(err)
	}
	o.Durable = true
	d, err := rig.Deploy(b.Context(), o)
	if openstack.NotInstalled(err) && os.Getenv("CI") != "true" {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	return d
}

func check(b testing.TB, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
