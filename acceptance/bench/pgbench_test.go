package bench_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/chandler-broker/chandler/embedded"
)

// pgbench is PostgreSQL's own benchmark, on a database of its own.
type pgbench struct{ program, url string }

var transactions = regexp.MustCompile(`(?m)^tps = ([0-9.]+) `)

func newPGBench(b *testing.B, server *embedded.Postgres) pgbench {
	b.Helper()
	p := pgbench{server.Program("pgbench"), newDatabase(b, server, "pgbench")}
	p.run(b, "--initialize", "--quiet", "--scale=20")
	return p
}

// perSecond is how many transactions so many clients commit.
func (p pgbench) perSecond(b *testing.B, clients int) float64 {
	b.Helper()
	out := p.run(b, "--skip-some-updates", fmt.Sprint("--client=", clients), "--jobs=2", fmt.Sprint("--time=", throughputTime.Seconds()))
	found := transactions.FindStringSubmatch(out)
	if found == nil {
		b.Fatalf("pgbench tells no tps: %s", out)
	}
	n, err := strconv.ParseFloat(found[1], 64)
	check(b, err)
	return n
}

func (p pgbench) run(b *testing.B, args ...string) string {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), p.program, append(args, p.url)...).CombinedOutput()
	if err != nil {
		b.Fatalf("pgbench: %v: %s", err, out)
	}
	return string(out)
}
