package bench_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/embedded"
)

// BenchmarkFamilies compares, for each backend of the shipped catalogs, each verb
// through HTTP with the same calls to the same server by the backend alone, and
// with the bare calls that the verb takes at least.
func BenchmarkFamilies(b *testing.B) {
	vault, err := embedded.BuildVault(b.Context(), os.Stderr)
	check(b, err)
	for _, backend := range slices.Concat(rig.Backends(), rig.CloudBackends()) {
		b.Run(backend, func(b *testing.B) {
			o := rig.Options{Vault: vault, Backends: []string{backend}}
			if backend == "postgres" { // spares are measured by themselves
				o.Catalog = catalogOf(0)
			}
			compareFamily(b, backend, deploy(b, o))
		})
	}
}

// mostAdded is the goal of what the broker adds to each verb.
var mostAdded = map[string]time.Duration{
	"provision": 7 * time.Millisecond, "bind": 10 * time.Millisecond, "unbind": 10 * time.Millisecond, "deprovision": 7 * time.Millisecond,
}

// slowRounds are those of backends whose servers take seconds, which they poll. What the broker adds
// is less than these servers differ from themselves, so that it has no goal there.
var slowRounds = map[string]int{"designate": 12, "manila": 6, "trove": 6}

func compareFamily(b *testing.B, backend string, d *rig.Deployment) {
	parsed, err := d.Parsed()
	check(b, err)
	plan := parsed.PlansOf(backend)[0]
	over := newRemote(b, d, plan.Service.ID, plan.ID)
	straight := newDirect(b, d, plan)
	bare := newBare(b, backend, d)
	for range cmp.Or(slowRounds[backend], rounds) {
		check(b, over.round(b.Context()))
		check(b, straight.round(b.Context()))
		check(b, bare.round(b.Context()))
	}
	for _, verb := range verbs {
		ours, theirs := median(over.times[verb]), median(straight.times[verb])
		added := median(differences(over.times[verb], straight.times[verb]))
		b.ReportMetric(float64(added.Microseconds())/1000, verb+"-added-ms")
		measured := fmt.Sprintf("%s added (%s, %s", milliseconds(added), milliseconds(ours), milliseconds(theirs))
		if least := bare.times[verb]; least != nil {
			measured += "; bare " + milliseconds(median(least))
		}
		goal := fmt.Sprintf("at most %d ms added", mostAdded[verb].Milliseconds())
		if slowRounds[backend] > 0 {
			goal = ""
		}
		table.add(backend+" "+verb+" through HTTP, against the backend alone, and bare calls", measured+")", goal, added <= mostAdded[verb])
		if backend == "smb" { // its own time is that of programs
			ratio := float64(theirs) / float64(median(bare.times[verb]))
			table.add("  the backend alone against bare calls", fmt.Sprintf("%.2f times", ratio), "at most 1.3 times", ratio <= 1.3)
		}
	}
}

// bare is the lifecycle by the calls that it takes at least, as an administrator
// without any broker would make them; nothing is measured of a backend without.
type bare struct {
	steps map[string]func(ctx context.Context, name string) error // by verb
	times times
	count int
}

func newBare(b *testing.B, backend string, d *rig.Deployment) *bare {
	b.Helper()
	open, ok := map[string]func(*testing.B, *rig.Deployment) map[string]func(context.Context, string) error{
		"postgres": barePostgres, "mysql": bareMariaDB, "nats": bareNATS, "rabbitmq": bareRabbitMQ, "powerdns": barePowerDNS, "s3": bareS3,
		"smb": bareSamba, "designate": bareDesignate, "manila": bareManila, "trove": bareTrove, "rgw": bareRGW,
	}[backend]
	if !ok {
		return &bare{}
	}
	return &bare{steps: open(b, d), times: times{}}
}

func (r *bare) round(ctx context.Context) error {
	if r.steps == nil {
		return nil
	}
	// 26 characters of [a-z2-7], as the procedures for MariaDB demand.
	name := slices.Repeat([]byte("a"), 26)
	for i, n := 25, r.count; n > 0; i, n = i-1, n/26 {
		name[i] = byte('a' + n%26)
	}
	r.count++
	for _, verb := range verbs {
		if err := r.times.measure(verb, func() error { return r.steps[verb](ctx, string(name)) }); err != nil {
			return fmt.Errorf("bare %s: %w", verb, err)
		}
	}
	return nil
}
