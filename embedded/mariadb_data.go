package embedded

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // the protocol's, see mysqlHash
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	mariaDBRoot         = "root"
	mariaDBPasswordFile = "root-password"
	mariaDBInitFile     = "init.sql"
	mariaDBPidFile      = "mariadbd.pid"
	mariaDBTemp         = "tmp"
	mariaDBCertificate  = "server.crt"
	mariaDBKey          = "server.key"
)

// initialise finds the programs, and makes the data where that has not been
// done to the end.
func (m *MariaDB) initialise(ctx context.Context) error {
	m.server, m.installer = findProgram("mariadbd"), findProgram("mariadb-install-db")
	if m.server == "" || m.installer == "" {
		return fmt.Errorf("no MariaDB server found: %w", ErrNoMariaDB)
	}
	if m.folder.hidden { // its engine Aria opens files by their whole path only
		return fmt.Errorf("the server's user cannot pass the directories above %s, and MariaDB needs that: name a folder that everybody can reach, or run this as an ordinary user", m.folder.root)
	}
	if err := m.readPassword(); err != nil {
		return err
	}
	if _, err := os.Stat(m.folder.path(dataFolder)); err == nil {
		return nil
	}
	// Made under another name first: what a crash leaves half-made is not
	// taken for data.
	if err := os.RemoveAll(m.folder.path(freshData)); err != nil {
		return fmt.Errorf("remove a half-made data folder: %w", err)
	}
	if err := m.folder.makeDir(freshData); err != nil {
		return err
	}
	if err := m.install(ctx); err != nil {
		return err
	}
	if err := os.Rename(m.folder.path(freshData), m.folder.path(dataFolder)); err != nil {
		return fmt.Errorf("put the new data folder in place: %w", err)
	}
	return nil
}

func (m *MariaDB) install(ctx context.Context) error {
	return runProcess(ctx, program{
		path: m.installer,
		args: []string{
			"--no-defaults", "--datadir=" + m.folder.path(freshData),
			"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
		},
		folder: m.folder, log: "mariadb-install-db.log",
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL,
	})
}

func (m *MariaDB) readPassword() error {
	password, err := m.folder.readFile(mariaDBPasswordFile)
	if err != nil {
		return err
	}
	if len(password) == 0 {
		password = []byte(newPassword())
		if err := m.folder.writeFile(mariaDBPasswordFile, password); err != nil {
			return err
		}
	}
	m.password = string(password)
	return nil
}

// choosePort chooses the port to listen on, and keeps it for the next start.
func (m *MariaDB) choosePort(ctx context.Context) error {
	kept, err := m.folder.readFile(portFile)
	if err != nil {
		return err
	}
	m.port = m.options.Port
	if m.port == 0 {
		m.port = firstNumber(string(kept))
	}
	if m.port == 0 {
		m.port, err = freePort(ctx)
	} else {
		err = waitPort(ctx, m.port) // a server whose parent was just killed may still hold it
	}
	if err != nil {
		return fmt.Errorf("%w (`ss -ltnp` shows whose it is); free it, name another one, or remove %s to have one chosen", err, m.folder.path(portFile))
	}
	return m.folder.writeFile(portFile, []byte(strconv.Itoa(m.port)))
}

// prepare writes what the server reads at its start. What it runs first gives
// root its password and takes the accounts away that a new data folder has
// without one: before that, nobody is let in.
func (m *MariaDB) prepare() error {
	root := "'" + mariaDBRoot + "'@'" + loopback + "'"
	statements := []string{
		"CREATE USER IF NOT EXISTS " + root + " IDENTIFIED VIA mysql_native_password USING '" + mysqlHash(m.password) + "'",
		"ALTER USER " + root + " IDENTIFIED VIA mysql_native_password USING '" + mysqlHash(m.password) + "'",
		"GRANT ALL ON *.* TO " + root + " WITH GRANT OPTION",
		"DELETE FROM mysql.global_priv WHERE User = '' OR User = '" + mariaDBRoot + "' AND Host <> '" + loopback + "'",
		"FLUSH PRIVILEGES",
	}
	files := map[string][]byte{mariaDBInitFile: []byte(strings.Join(statements, ";\n") + ";\n")}
	if m.options.TLS != nil {
		files[mariaDBCertificate], files[mariaDBKey] = m.options.TLS.Certificate, m.options.TLS.Key
	}
	for name, content := range files {
		if err := m.folder.writeFile(name, content); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(m.folder.path(mariaDBTemp)); err != nil {
		return fmt.Errorf("remove temporary files: %w", err)
	}
	return m.folder.makeDir(mariaDBTemp)
}

// mysqlHash is what the server stores for a password (MariaDB documentation,
// "Authentication Plugin - mysql_native_password").
func mysqlHash(password string) string {
	once := sha1.Sum([]byte(password)) //nolint:gosec // the protocol's
	twice := sha1.Sum(once[:])         //nolint:gosec // the protocol's
	return "*" + strings.ToUpper(hex.EncodeToString(twice[:]))
}

func (m *MariaDB) arguments() []string {
	args := []string{
		"--no-defaults",
		"--datadir=" + m.folder.path(dataFolder),
		"--tmpdir=" + m.folder.path(mariaDBTemp),
		"--init-file=" + m.folder.path(mariaDBInitFile),
		"--pid-file=" + mariaDBPidFile, // both are below the data folder
		"--socket=mariadb.sock",
		"--bind-address=" + loopback,
		"--port=" + strconv.Itoa(m.port),
		"--skip-name-resolve",
		"--character-set-server=utf8mb4",
		"--max-connections=200",
		"--performance-schema=OFF",
		"--innodb-buffer-pool-size=64M",
		// What the backend asks a server for that tenants share.
		"--enforce-storage-engine=InnoDB",
		"--innodb-file-per-table=ON",
		"--symbolic-links=0",
		"--innodb-temp-data-file-path=ibtmp1:12M:autoextend:max:2G",
	}
	if m.options.NoSync {
		args = append(args, "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=2")
	}
	if m.options.TLS != nil {
		args = append(args, "--ssl-cert="+m.folder.path(mariaDBCertificate), "--ssl-key="+m.folder.path(mariaDBKey))
	}
	return args
}

// waitReady waits until the server greets who connects.
func (m *MariaDB) waitReady(ctx context.Context, server *process) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !m.isReady(ctx, server.child.Pid) {
		select {
		case <-tick.C:
		case <-server.done:
			return server.failure()
		case <-ctx.Done():
			return fmt.Errorf("the MariaDB server did not become ready in time, its log is %s: %w", server.logFile, ctx.Err())
		}
	}
	return nil
}

// isReady says whether this very process wrote its number, which it does last,
// and greets.
func (m *MariaDB) isReady(ctx context.Context, pid int) bool {
	content, err := m.folder.readFile(dataFolder + "/" + mariaDBPidFile)
	if err != nil || !bytes.Equal(content, []byte(strconv.Itoa(pid))) {
		return false
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", m.address())
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(time.Second)) // a connection always takes one
	greeting := make([]byte, 5)
	n, err := conn.Read(greeting)
	const protocol = 10 // MariaDB documentation, "Connecting", "Initial Handshake Packet"
	return err == nil && n == len(greeting) && greeting[4] == protocol
}
