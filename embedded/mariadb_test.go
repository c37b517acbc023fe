package embedded

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
)

func runMariaDB(t *testing.T, dir string) *MariaDB {
	t.Helper()
	m, err := StartMariaDB(t.Context(), Options{Dir: dir, NoSync: true}, nil)
	if errors.Is(err, ErrNoMariaDB) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopMariaDB(t, m) })
	return m
}

func stopMariaDB(t *testing.T, m *MariaDB) {
	t.Helper()
	if err := m.Stop(context.Background()); err != nil { // t's context has ended in a cleanup
		t.Fatal(err)
	}
}

// asMariaDBRoot runs a query as root on a connection of its own, and returns
// the first column.
func asMariaDBRoot(t *testing.T, m *MariaDB, user, password, query string) ([]string, error) {
	t.Helper()
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr = user, password, "tcp", localAddress(m.port)
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		found = append(found, text)
	}
	return found, rows.Err()
}

func mariaDBWord(t *testing.T, m *MariaDB) string {
	t.Helper()
	found, err := asMariaDBRoot(t, m, mariaDBRoot, m.password, "SELECT word FROM kept.words")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(found, ",")
}

func keepMariaDBWord(t *testing.T, m *MariaDB) {
	t.Helper()
	for _, statement := range []string{"CREATE DATABASE kept", "CREATE TABLE kept.words (word TEXT)", "INSERT INTO kept.words VALUES ('anchor')"} {
		if _, err := asMariaDBRoot(t, m, mariaDBRoot, m.password, statement); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMariaDBKeepsData(t *testing.T) {
	dir := filepath.Join(reachable(t), "a fôlder # % x")
	first := runMariaDB(t, dir)
	keepMariaDBWord(t, first)
	stopMariaDB(t, first)
	if err, ok := <-first.Done(); ok {
		t.Fatalf("Done after Stop: %v", err)
	}
	second := runMariaDB(t, dir)
	if second.URL("x") != first.URL("x") {
		t.Error("the second start has another port or password")
	}
	if got := mariaDBWord(t, second); got != "anchor" {
		t.Errorf("data: %q", got)
	}
}

func TestMariaDBSurvives(t *testing.T) {
	m := runMariaDB(t, reachable(t))
	keepMariaDBWord(t, m)
	for _, c := range []struct {
		name string
		harm func()
	}{
		{"restart", func() {}},
		{"kill", m.Kill},
		{"kill twice", func() { m.Kill(); m.Kill() }},
		{"a crash", func() {
			_ = m.process.child.Kill() // as nobody here asked for
			if err := <-m.Done(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Errorf("Done: %v", err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.harm()
			if err := m.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := mariaDBWord(t, m); got != "anchor" {
				t.Errorf("data: %q", got)
			}
		})
	}
	stopMariaDB(t, m)
	if err := m.Restart(t.Context()); err == nil {
		t.Error("restarted after Stop")
	}
}

// Nobody but root with its password gets in, and the password is root's alone.
func TestMariaDBIsClosed(t *testing.T) {
	m := runMariaDB(t, reachable(t))
	for _, login := range [][2]string{{mariaDBRoot, ""}, {mariaDBRoot, "wrong"}, {"", ""}, {"mysql", ""}, {"mariadb.sys", ""}} {
		if _, err := asMariaDBRoot(t, m, login[0], login[1], "SELECT 1"); err == nil {
			t.Errorf("%q got in with password %q", login[0], login[1])
		}
	}
	accounts, err := asMariaDBRoot(t, m, mariaDBRoot, m.password, "SELECT CONCAT(User, '@', Host) FROM mysql.global_priv ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"mariadb.sys@localhost", "root@127.0.0.1"}, accounts); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	for _, file := range []string{mariaDBPasswordFile, mariaDBInitFile} {
		info, err := os.Stat(m.folder.path(file))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
	arguments, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(m.process.child.Pid), "cmdline"))
	if err != nil || strings.Contains(string(arguments), m.password) {
		t.Errorf("arguments of the server: %q, %v", arguments, err)
	}
	log, err := os.ReadFile(m.folder.path("mariadb.log"))
	if err != nil || strings.Contains(string(log), m.password) || strings.Contains(string(log), mysqlHash(m.password)) {
		t.Errorf("the log contains the password, or does not exist: %v", err)
	}
}

func TestMariaDBRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	_, err = StartMariaDB(t.Context(), Options{Dir: withPort(t, reachable(t), portFile, port)}, nil)
	if errors.Is(err, ErrNoMariaDB) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err == nil || !strings.Contains(err.Error(), "port "+strconv.Itoa(port)) || !strings.Contains(err.Error(), "stop that process") {
		t.Errorf("a port that is taken: %v", err)
	}
	if os.Geteuid() != 0 {
		return // who is not root reaches every folder of his own
	}
	if _, err := StartMariaDB(t.Context(), Options{Dir: t.TempDir()}, nil); err == nil || !strings.Contains(err.Error(), "name a folder that everybody can reach") {
		t.Errorf("a folder that the server's user cannot get to: %v", err)
	}
}
