package embeddedtest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/chandler-broker/chandler/embedded"
)

// MariaDB starts a MariaDB server for t alone, which ends with t. Tests may
// restart and kill it; it starts in two seconds. TLS may be nil. Where MariaDB
// is not installed the test is skipped, and fails when CI=true.
func MariaDB(t testing.TB, identity *embedded.MariaDBTLS) *embedded.MariaDB {
	t.Helper()
	return MariaDBOn(t, reachableDir(t), identity)
}

// MariaDBOn is MariaDB on a folder of the test's choice, on a Disk for instance.
func MariaDBOn(t testing.TB, dir string, identity *embedded.MariaDBTLS) *embedded.MariaDB {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	server, err := embedded.StartMariaDB(ctx, embedded.MariaDBOptions{Dir: dir, TLS: identity, NoSync: true})
	if errors.Is(err, embedded.ErrNoMariaDB) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout) // t's own has ended
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return server
}
