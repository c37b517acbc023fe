package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the protocol's, see mysqlHash
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
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

// fill finds the programs, and makes the data.
func (m *MariaDB) fill(ctx context.Context) (err error) {
	m.server, m.installer = findProgram("mariadbd"), findProgram("mariadb-install-db")
	if m.server == "" || m.installer == "" {
		return fmt.Errorf("no MariaDB server found: %w", ErrNoMariaDB)
	}
	if m.folder.hidden { // its engine Aria opens files only by their absolute path
		return fmt.Errorf("the server's user cannot pass the directories above %s, as MariaDB requires: name a folder that everybody can reach, or run this as an ordinary user", m.folder.root)
	}
	if m.password, err = m.folder.storedSecret(mariaDBPasswordFile, rand.Text); err != nil {
		return err
	}
	return m.folder.makeData(ctx, m.install)
}

func (m *MariaDB) install(ctx context.Context) error {
	if m.copied != "" {
		return m.folder.copyData(ctx, m.copied)
	}
	return runProcess(ctx, m.folder, program{
		path: m.installer,
		args: []string{
			"--no-defaults", "--datadir=" + m.folder.path(freshData),
			"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
		},
	})
}

// prepare writes the files that the server reads at its start. Before it accepts
// connections, it sets root's password, and removes the accounts of a new data folder
// that have none.
func (m *MariaDB) prepare(context.Context) error {
	root := "'" + mariaDBRoot + "'@'" + loopback + "'"
	statements := []string{
		"CREATE USER IF NOT EXISTS " + root + " IDENTIFIED VIA mysql_native_password USING '" + mysqlHash(m.password) + "'",
		"ALTER USER " + root + " IDENTIFIED VIA mysql_native_password USING '" + mysqlHash(m.password) + "'",
		"GRANT ALL ON *.* TO " + root + " WITH GRANT OPTION",
		"DELETE FROM mysql.global_priv WHERE User = '' OR User = '" + mariaDBRoot + "' AND Host <> '" + loopback + "'",
		"FLUSH PRIVILEGES",
	}
	files := map[string][]byte{mariaDBInitFile: []byte(strings.Join(statements, ";\n") + ";\n")}
	if m.tls != nil {
		files[mariaDBCertificate], files[mariaDBKey] = m.tls.Certificate, m.tls.Key
	}
	if err := m.folder.writeFiles(files); err != nil {
		return err
	}
	return m.folder.emptyDir(mariaDBTemp)
}

// mysqlHash is the form in which the server stores a password (MariaDB documentation,
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
		// What the backend requires of a server that tenants share.
		"--enforce-storage-engine=InnoDB",
		"--innodb-file-per-table=ON",
		"--symbolic-links=0",
		"--innodb-temp-data-file-path=ibtmp1:12M:autoextend:max:2G",
		"--tmp-disk-table-size=256M", "--maximum-tmp-disk-table-size=256M",
		"--tmp-memory-table-size=16M", "--maximum-tmp-memory-table-size=64M",
		"--maximum-max-sort-length=1024", // of a key that is sorted on disk
		// MariaDB 11.5 and newer.
		"--loose-max-tmp-session-space-usage=256M", "--loose-max-tmp-total-space-usage=2G",
	}
	if m.options.NoSync {
		args = append(args, "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=2")
	}
	if m.tls != nil {
		args = append(args, "--ssl-cert="+m.folder.path(mariaDBCertificate), "--ssl-key="+m.folder.path(mariaDBKey))
	}
	return args
}

// ready says whether this process has written its number, its last step, and sends the
// protocol's greeting.
func (m *MariaDB) ready(ctx context.Context, pid int) bool {
	content, err := m.folder.readFile(dataFolder + "/" + mariaDBPidFile)
	if err != nil || !bytes.Equal(content, []byte(strconv.Itoa(pid))) {
		return false
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", localAddress(m.port))
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
