package embeddedtest

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
)

// PostgresOn starts a PostgreSQL server for t alone on a folder, such as a Disk's. Like
// every server for one test, it ends with t, t may restart and kill it, and if it cannot
// run here, t is skipped, or fails with CI=true.
func PostgresOn(t testing.TB, dir string) *embedded.Postgres {
	t.Helper()
	return running(t, func(ctx context.Context) (*embedded.Postgres, error) {
		return embedded.StartPostgres(ctx, embedded.Options{Dir: dir, NoSync: true})
	})
}

// RabbitMQOn starts a RabbitMQ server for t alone on a folder, such as a Disk's.
func RabbitMQOn(t testing.TB, dir string) *embedded.RabbitMQ {
	t.Helper()
	server := running(t, func(ctx context.Context) (*embedded.RabbitMQ, error) {
		return embedded.StartRabbitMQ(ctx, embedded.Options{Dir: dir})
	})
	t.Cleanup(server.Kill) // nobody needs its data, and an orderly end takes seconds
	return server
}

// MariaDB starts a MariaDB server for t alone, which takes two seconds. identity may be nil.
func MariaDB(t testing.TB, identity *embedded.TLS) *embedded.MariaDB {
	t.Helper()
	return MariaDBOn(t, reachableDir(t), identity)
}

// MariaDBOn is MariaDB on a folder, such as a Disk's.
func MariaDBOn(t testing.TB, dir string, identity *embedded.TLS) *embedded.MariaDB {
	t.Helper()
	return running(t, func(ctx context.Context) (*embedded.MariaDB, error) {
		return embedded.StartMariaDB(ctx, embedded.Options{Dir: dir, NoSync: true}, identity)
	})
}

// PowerDNS starts a PowerDNS server for t alone.
func PowerDNS(t testing.TB) *embedded.PowerDNS {
	t.Helper()
	return PowerDNSOn(t, reachableDir(t))
}

// PowerDNSOn is PowerDNS on a folder, such as a Disk's.
func PowerDNSOn(t testing.TB, dir string) *embedded.PowerDNS {
	t.Helper()
	return running(t, func(ctx context.Context) (*embedded.PowerDNS, error) {
		return embedded.StartPowerDNS(ctx, embedded.Options{Dir: dir, NoSync: true})
	})
}

// Samba starts a Samba server for t alone, which needs root. shares is the folder of the
// shares' folders; empty: the server's own.
func Samba(t testing.TB, shares string) *embedded.Samba {
	t.Helper()
	o := embedded.SambaOptions{Options: embedded.Options{Dir: reachableDir(t), NoSync: true}, Shares: shares}
	return running(t, func(ctx context.Context) (*embedded.Samba, error) { return embedded.StartSamba(ctx, o) })
}

// VersityGW starts a Versity S3 Gateway for t alone, whose binary it builds. The default of
// o.Dir is a new folder.
func VersityGW(t testing.TB, o embedded.VersityGWOptions) *embedded.VersityGW {
	t.Helper()
	o.Binary = built(t, embedded.BuildVersityGW)
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	return running(t, func(ctx context.Context) (*embedded.VersityGW, error) { return embedded.StartVersityGW(ctx, o) })
}

// VaultBinary returns the Vault server's program, which it builds if necessary.
func VaultBinary(t testing.TB) string {
	t.Helper()
	return built(t, embedded.BuildVault)
}

// Vault starts a Vault server for t alone, which takes well under a second. t may also seal
// it. identity may be nil.
func Vault(t testing.TB, identity *embedded.TLS) *embedded.Vault {
	t.Helper()
	o := embedded.VaultOptions{Binary: VaultBinary(t), Dir: t.TempDir(), TLS: identity}
	return running(t, func(ctx context.Context) (*embedded.Vault, error) { return embedded.StartVault(ctx, o) })
}

// FunctionsProgram returns the program of the function runtime, which it builds if necessary.
func FunctionsProgram(t testing.TB) string {
	t.Helper()
	return built(t, embedded.BuildFunctions)
}

// Functions starts a function runtime for t alone, on a database.
func Functions(t testing.TB, database string, env ...string) *embedded.Functions {
	t.Helper()
	o := embedded.FunctionsOptions{Program: FunctionsProgram(t), Dir: t.TempDir(), DatabaseURL: database, Env: env}
	return running(t, func(ctx context.Context) (*embedded.Functions, error) { return embedded.StartFunctions(ctx, o) })
}

// built returns a program, which it builds if necessary; the first build takes minutes.
func built(t testing.TB, build func(context.Context, io.Writer) (string, error)) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	program, err := build(ctx, t.Output())
	require(t, err)
	return program
}

// running starts a server that ends with t.
func running[S interface{ Stop(context.Context) error }](t testing.TB, start func(context.Context) (S, error)) S {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	server, err := start(ctx)
	require(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout) // t's own has ended
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return server
}

// require ends t if err is not nil: it skips t if a server is not installed.
func require(t testing.TB, err error) {
	t.Helper()
	if embedded.NotInstalled(err) {
		missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// missing skips a test that cannot run here, or fails it with CI=true.
func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
