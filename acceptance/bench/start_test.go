package bench_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// starts is how often the start is measured.
const starts = 5

// BenchmarkStart measures how long a replica takes to serve on a full state, and
// how much memory it needs, also while it reconciles.
func BenchmarkStart(b *testing.B) {
	d := deploy(b, rig.Options{Catalog: catalogOf(0), Environment: map[string]string{"CHANDLER_KEEP_EVERY": "5s"}})
	broker, err := d.AddBroker(b.Context(), "broker", nil)
	check(b, err)
	client, err := broker.Client(osbclient.Options{})
	check(b, err)
	_, err = client.Provision(b.Context(), "real", osbclient.ProvisionRequest{ServiceID: service, PlanID: plan, OrganizationGUID: "o", SpaceGUID: "s"})
	check(b, err)
	_, err = client.Bind(b.Context(), "real", "real", osbclient.BindRequest{ServiceID: service, PlanID: plan, AppGUID: "a"})
	check(b, err)
	check(b, fill(b.Context(), d.StateURL, "default", service, plan))
	check(b, fillSecrets(b.Context(), d.StateURL))
	var took []time.Duration
	var resident []float64
	for range starts {
		broker.Kill()
		began := time.Now()
		check(b, broker.Start(b.Context()))
		took = append(took, time.Since(began))
		resident = append(resident, memory(b, broker.Process().PID(), "VmRSS"))
	}
	check(b, awaitReconciled(b, d))
	_, _, err = broker.Page(b.Context(), "/metrics")
	check(b, err)
	most := memory(b, broker.Process().PID(), "VmHWM")
	b.ReportMetric(median(took).Seconds(), "start-s")
	b.ReportMetric(most, "memory-MB")
	table.add(fmt.Sprintf("start-up with %d instances", instances()), fmt.Sprintf("%.2f s", median(took).Seconds()), "under 1.5 s", median(took) < 1500*time.Millisecond)
	table.add(fmt.Sprintf("resident memory with %d instances, after the start and at most", instances()),
		fmt.Sprintf("%.0f MB, %.0f MB", resident[len(resident)-1], most), "under 80 MB", most < 80)
}

// reconcileTime is how long the reconciliation of a full state is measured.
const reconcileTime = time.Minute

// awaitReconciled waits until the replica has reconciled all instances once more, or for
// reconcileTime: a million take hours.
func awaitReconciled(b *testing.B, d *rig.Deployment) error {
	conn, err := pgx.Connect(b.Context(), d.StateURL)
	if err != nil {
		return err
	}
	defer conn.Close(b.Context())
	for began := time.Now(); time.Since(began) < reconcileTime; time.Sleep(100 * time.Millisecond) {
		var rounds int
		err := conn.QueryRow(b.Context(), `select count(*) from rounds where name like 'keep/%' and began_at > $1`, began).Scan(&rounds)
		if err != nil || rounds > 0 {
			return err
		}
	}
	return nil
}
