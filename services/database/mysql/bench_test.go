package mysql

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The throughput of a backup, and that of the bare "mariadb-dump | zstd" as root.
func BenchmarkBackup(b *testing.B) {
	server := newServer(b)
	backend := server.backend(b)
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	inst, other := newInstance("bulk", nil), newInstance("bulk copy", nil)
	check(servicetest.Once(backend).Provision(b.Context(), inst))
	check(servicetest.Once(backend).Provision(b.Context(), other))
	name := backend.names.database(inst.Name)
	server.exec(b, "CREATE TABLE "+ident(name)+".bulk (n INT PRIMARY KEY, a CHAR(32), b VARCHAR(200), at DATETIME) AS SELECT seq AS n, MD5(seq) AS a, CONCAT(MD5(seq + 1), REPEAT('filler ', 10)) AS b, NOW() AS at FROM seq_1_to_1500000")
	root, err := mysqldb.ClientConfig(map[string]any{"uri": server.mariadb.URL("")})
	check(err)
	b.Run("raw mariadb-dump and zstd", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.CommandContext(b.Context(), "sh", "-c", `mariadb-dump --no-defaults --host="$HOST" --port="$PORT" --user="$USER" --skip-ssl --single-transaction --quick --skip-add-locks "$NAME" | zstd -q >/dev/null`)
			cmd.Env = append(os.Environ(), "HOST="+server.admin.Hostname(), "PORT="+server.admin.Port(), "USER="+root.User, "MYSQL_PWD="+root.Passwd, "NAME="+name)
			cmd.Stderr = os.Stderr
			check(cmd.Run())
		}
	})
	var contents services.Contents
	b.Run("backup and zstd", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.CommandContext(b.Context(), "zstd", "-q")
			w, err := cmd.StdinPipe()
			check(err)
			check(cmd.Start())
			contents, err = backup(b.Context(), backend, inst, w)
			check(err)
			check(w.Close())
			check(cmd.Wait())
		}
		b.SetBytes(contents.Counts[byteCount.name])
	})
	file, err := os.Create(filepath.Join(b.TempDir(), "copy"))
	check(err)
	defer file.Close()
	contents, err = backup(b.Context(), backend, inst, file)
	check(err)
	_, err = file.Seek(0, io.SeekStart)
	check(err)
	b.Run("restore", func(b *testing.B) {
		b.SetBytes(contents.Counts[byteCount.name])
		_, err = backend.Restore(b.Context(), services.RestoreRequest[Plan, InstanceParams]{Instance: other, Contents: contents, Reader: file})
		check(err)
	})
	for _, i := range []instance{inst, other} {
		check(servicetest.Patient(backend).Deprovision(b.Context(), i))
	}
}
