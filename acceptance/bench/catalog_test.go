package bench_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

const (
	catalogRounds   = 5
	catalogRequests = 20_000 // a round
	catalogClients  = 4
)

// BenchmarkCatalog compares the processor time of GET /v2/catalog, authenticated
// and logged, with that of a plain net/http handler of the same bytes.
func BenchmarkCatalog(b *testing.B) {
	d := deploy(b, rig.Options{})
	broker, err := d.AddBroker(b.Context(), "broker", nil)
	check(b, err)
	client, err := broker.Client(osbclient.Options{})
	check(b, err)
	catalog, err := client.Catalog(b.Context())
	check(b, err)
	plain, logging := startPlain(b, d.Dir, catalog.Body, false), startPlain(b, d.Dir, catalog.Body, true)

	var ours, theirs, theirsLogged time.Duration
	for range catalogRounds {
		ours += spend(b, broker.Process().PID(), request(b, broker.URL()+"/v2/catalog", d))
		theirs += spend(b, plain.process.PID(), request(b, plain.url+"/v2/catalog", d))
		theirsLogged += spend(b, logging.process.PID(), request(b, logging.url+"/v2/catalog", d))
	}
	each := func(total time.Duration) float64 {
		return float64(total.Microseconds()) / (catalogRounds * catalogRequests)
	}
	ratio, ratioLogged := float64(ours)/float64(theirs), float64(ours)/float64(theirsLogged)
	b.ReportMetric(ratio, "ratio")
	table.add("GET catalog: processor time against a plain handler of the same bytes",
		fmt.Sprintf("%.2f times (%.1f µs, %.1f µs)", ratio, each(ours), each(theirs)), "at most 1.3 times", ratio <= 1.3)
	table.add("  against one that writes a line of log for each request, as the broker does",
		fmt.Sprintf("%.2f times (%.1f µs, %.1f µs)", ratioLogged, each(ours), each(theirsLogged)), "", false)
}

type plainServer struct {
	process *rig.Process
	url     string
}

func startPlain(b *testing.B, dir string, body []byte, logs bool) plainServer {
	b.Helper()
	file := filepath.Join(dir, "catalog.json")
	check(b, os.WriteFile(file, body, 0o600))
	address, err := rig.FreeAddress()
	check(b, err)
	self, err := os.Executable()
	check(b, err)
	env := []string{plainHandler + "=" + file, plainListen + "=" + address}
	if logs {
		env = append(env, plainLogs+"=true")
	}
	p, err := rig.Start(rig.Command{Name: "plain", Path: self, Env: env, Dir: dir})
	check(b, err)
	b.Cleanup(p.Kill)
	check(b, rig.AwaitServing(b.Context(), "http://"+address, p))
	return plainServer{p, "http://" + address}
}

func request(b *testing.B, url string, d *rig.Deployment) *http.Request {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	check(b, err)
	r.SetBasicAuth(d.Username, d.Password)
	r.Header.Set("X-Broker-API-Version", "2.17")
	return r
}

// spend sends a round of requests and returns what processor time the server
// used for them.
func spend(b *testing.B, pid int, r *http.Request) time.Duration {
	b.Helper()
	before := cpu(b, pid)
	transport := &http.Transport{MaxIdleConnsPerHost: catalogClients}
	defer transport.CloseIdleConnections()
	faults := make([]error, catalogClients)
	var all sync.WaitGroup
	for n := range catalogClients {
		all.Go(func() { faults[n] = repeat(transport, r.Clone(b.Context()), catalogRequests/catalogClients) })
	}
	all.Wait()
	for _, err := range faults {
		check(b, err)
	}
	return cpu(b, pid) - before
}

func repeat(transport http.RoundTripper, r *http.Request, times int) error {
	for range times {
		answer, err := transport.RoundTrip(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			return fmt.Errorf("GET catalog: %s, %w", answer.Status, err)
		}
	}
	return nil
}
