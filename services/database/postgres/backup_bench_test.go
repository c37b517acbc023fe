package postgres

import (
	"io"
	"net/url"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The throughput of a backup, and that of the bare "pg_dump | zstd" as the superuser.
func BenchmarkBackup(b *testing.B) {
	server := newServer(b)
	backend := server.backend(b, "bulk")
	inst := newInstance("bulk", nil)
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	check(servicetest.Once(backend).Provision(b.Context(), inst))
	credentials, err := servicetest.Once(backend).Bind(b.Context(), inst, newBinding(b, inst, "b", access.ReadWrite))
	check(err)
	s, err := dial(b.Context(), credentials.Values)
	check(err)
	_, err = clientOf(s).Conn.ExecContext(b.Context(), `CREATE TABLE bulk AS SELECT n, md5(n::text) AS a, md5((n + 1)::text) || repeat('filler ', 10) AS b, now() AS at
		FROM generate_series(1, 1500000) n; ALTER TABLE bulk ADD PRIMARY KEY (n)`)
	check(err)
	check(s.Close())
	root, err := url.Parse(server.rootURL)
	check(err)
	root.Path = "/" + backend.names.instance(inst.Name).database
	var contents services.Contents
	b.Run("raw pg_dump and zstd", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.CommandContext(b.Context(), "sh", "-c", `pg_dump --format=custom --compress=0 "$URL" | zstd -q >/dev/null`)
			cmd.Env = append(os.Environ(), "URL="+root.String())
			check(cmd.Run())
		}
	})
	b.Run("backup and zstd", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.CommandContext(b.Context(), "zstd", "-q")
			w, err := cmd.StdinPipe()
			check(err)
			check(cmd.Start())
			contents, err = backend.Backup(b.Context(), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: w})
			check(err)
			check(w.Close())
			check(cmd.Wait())
		}
		b.SetBytes(contents.Counts[byteCount])
	})
	r, w := io.Pipe()
	go func() {
		_, err := backend.Backup(b.Context(), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: w})
		_ = w.CloseWithError(err)
	}()
	other := newInstance("bulk copy", nil)
	check(servicetest.Once(backend).Provision(b.Context(), other))
	began := time.Now()
	_, err = backend.Restore(b.Context(), services.RestoreRequest[Plan, InstanceParams]{Instance: other, Contents: contents, Reader: r})
	check(err)
	b.Logf("restored %d MB in %s", contents.Counts[byteCount]>>20, time.Since(began))
	for _, i := range []instance{inst, other} {
		check(servicetest.Patient(backend).Deprovision(b.Context(), i))
	}
}
