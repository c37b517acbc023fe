package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func backup(ctx context.Context, b *backend, inst instance, w io.Writer) (services.Contents, error) {
	return b.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: w})
}

// provisioned makes an instance with a read_write binding.
func provisioned(t *testing.T, b *backend, id string) (instance, binding, *client) {
	t.Helper()
	inst := newInstance(id, nil)
	if err := servicetest.Once(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	bd, credentials := bound(t, b, inst, "writes", access.ReadWrite)
	return inst, bd, dialled(t, credentials)
}

func deprovisioned(t *testing.T, b *backend, instances ...instance) {
	t.Helper()
	for _, inst := range instances {
		if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
			t.Fatal(err)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

// While an instance is copied, the account that copies it reaches nothing else: a table that
// becomes a view with SQL SECURITY INVOKER would read as that account. Its password is in no
// arguments. Afterwards it is gone.
func TestCopierReachesItsInstanceOnly(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst, _, c := provisioned(t, b, "copied")
	c.must(t, "CREATE TABLE t AS SELECT seq AS n, REPEAT('x', 1000) AS x FROM seq_1_to_5000")
	other, _, d := provisioned(t, b, "other")
	d.must(t, "CREATE TABLE theirs (n INT)")
	name := b.names.database(inst.Name)
	var grants []string
	arguments, written := 0, 0
	w := writerFunc(func(p []byte) (int, error) {
		if written += len(p); written < 100000 || grants != nil {
			return len(p), nil
		}
		var err error
		grants, err = server.column(t.Context(), "SHOW GRANTS FOR `"+name+"`@`%`")
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range files {
			line, _ := os.ReadFile(file)
			if bytes.Contains(line, []byte("--user="+name)) {
				arguments++
			}
			if bytes.Contains(line, []byte(adminPassword)) || bytes.Contains(line, []byte("MYSQL_PWD")) {
				t.Errorf("%s has a password", file)
			}
		}
		// Reconcile does not take it for a binding.
		if listed, err := b.List(t.Context()); err != nil || len(listed) != 4 {
			t.Errorf("listed meanwhile: %v, %v", listed, err)
		}
		return len(p), err
	})
	if _, err := backup(testContext(t), b, inst, w); err != nil {
		t.Fatal(err)
	}
	if len(grants) != 2 || !strings.HasPrefix(grants[0], "GRANT USAGE ON *.*") || !strings.Contains(grants[1], "ON `"+pattern(name)+"`.*") || arguments != 1 {
		t.Errorf("rights of the account: %v; %d programs", grants, arguments)
	}
	if left, err := server.column(t.Context(), "SELECT User FROM mysql.global_priv WHERE User = '"+name+"'"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	deprovisioned(t, b, inst, other)
	server.nothingLeft(t)
}

// What a dump contains is data, and never a command of the machine that restores it.
func TestRestoreRunsNoCommands(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst, _, c := provisioned(t, b, "commands")
	const file = "touched" // in this folder
	hostile := []string{"a\n\\! touch " + file, "b`; system touch " + file + ";", "c\nsource /etc/passwd\nx", "DELIMITER ;;"}
	for _, name := range hostile {
		c.must(t, "CREATE TABLE "+ident(name)+" ("+ident(name)+" VARCHAR(200) DEFAULT "+literal(name)+") COMMENT "+literal(name), "INSERT INTO "+ident(name)+" VALUES ("+literal(name)+")")
	}
	c.must(t, "CREATE VIEW "+ident("v\n\\! touch "+file)+" AS SELECT 1 AS "+ident("x\n\\! touch "+file))
	var stream bytes.Buffer
	contents, err := backup(testContext(t), b, inst, &stream)
	if err != nil {
		t.Fatal(err)
	}
	other := newInstance("commands 2", nil)
	if err := servicetest.Once(b).Provision(testContext(t), other); err != nil {
		t.Fatal(err)
	}
	r := services.RestoreRequest[Plan, InstanceParams]{Instance: other, Contents: contents, Reader: bytes.NewReader(stream.Bytes())}
	if _, err := b.Restore(testContext(t), r); err != nil {
		t.Fatal(err)
	}
	_, credentials := bound(t, b, other, "reads", access.ReadWrite)
	d := dialled(t, credentials)
	for _, name := range hostile {
		if got := d.ask(t, "SELECT "+ident(name)+" FROM "+ident(name)); got != name {
			t.Errorf("%q is %q", name, got)
		}
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a command ran: %v", err)
	}
	deprovisioned(t, b, inst, other)
	server.nothingLeft(t)
}

// A database over quota is copied, and stays read-only. A broken view is the user's to repair.
func TestBackupOfAnUnusualDatabase(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst, _, c := provisioned(t, b, "unusual")
	c.must(t, makeBig, fill, "CREATE TABLE gone (n INT)", "CREATE VIEW broken AS SELECT * FROM gone", "DROP TABLE gone")
	_, err := backup(testContext(t), b, inst, io.Discard)
	if message, rejected := services.IsRejected(err); !rejected || !strings.Contains(message, "broken") {
		t.Errorf("a broken view: %v", err)
	}
	c.must(t, "DROP VIEW broken")
	inst.Plan.Storage = minStorage
	if _, err := servicetest.Once(b).Reconcile(testContext(t), nil, []instance{inst}); err != nil {
		t.Fatal(err)
	}
	var reconciled error
	contents, err := backup(testContext(t), b, inst, writerFunc(func(p []byte) (int, error) {
		if reconciled == nil {
			_, reconciled = servicetest.Once(b).Reconcile(testContext(t), nil, []instance{inst})
			reconciled = errors.Join(reconciled, io.EOF)
		}
		return len(p), nil
	}))
	if err != nil || contents.Counts["tables"] != 1 {
		t.Errorf("over quota: %v, %v; reconciled %v", contents.Counts, err, reconciled)
	}
	b.programs = "/nonexistent"
	if _, err := backup(testContext(t), b, inst, io.Discard); err == nil || !strings.Contains(err.Error(), "install MariaDB's client programs") {
		t.Errorf("without the program: %v", err)
	}
	deprovisioned(t, b, inst)
	server.nothingLeft(t)
}

// A copy that ends early is not a whole one, wherever it ends.
func TestStatementsTruncated(t *testing.T) {
	t.Parallel()
	const whole = "/*M!999999\\- enable the sandbox mode */ \n\n/*!40101 SET NAMES utf8mb4 */;\nCREATE TABLE `t;` (\n  `n` int\n);\nINSERT INTO `t;` (`n`, `V`) VALUES\n(1,'a;\\'(b)'),\n(NULL,'VALUES (');\n" + endOfCopy + "\n"
	for end := range len(whole) + 1 {
		s := newStatements(strings.NewReader(whole[:end]), 1<<20)
		err := s.readAll(func([]byte) error { return nil })
		if complete := end >= len(whole)-1; (err == nil) != complete {
			t.Errorf("%d of %d bytes: %v", end, len(whole), err)
		} else if complete && fmt.Sprint(s.counts["rows"], s.counts["row_bytes"], s.counts["tables"]) != "2 30 1" {
			t.Errorf("counted %v", s.counts)
		}
	}
	s := newStatements(io.MultiReader(strings.NewReader(whole), failing{}), 1<<20)
	if err := s.readAll(func([]byte) error { return nil }); !errors.Is(err, errFailing) {
		t.Errorf("a reader that fails at its end: %v", err)
	}
}

var errFailing = errors.New("damaged")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }

func TestWithoutDefiner(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]string{
		"CREATE DEFINER=`a``b`@`%` PROCEDURE `p`() SELECT 'DEFINER=`x`@`y` '":  "CREATE PROCEDURE `p`() SELECT 'DEFINER=`x`@`y` '",
		`CREATE DEFINER="a"@"%" FUNCTION f() RETURNS INT RETURN 1`:             `CREATE FUNCTION f() RETURNS INT RETURN 1`,
		"/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`a`@`%` SQL": "/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 SQL",
		"INSERT INTO t VALUES ('CREATE DEFINER=`a`@`b` VIEW')":                 "INSERT INTO t VALUES ('CREATE DEFINER=`a`@`b` VIEW')",
	} {
		if got := withoutDefiner(statement); got != want {
			t.Errorf("%s: %s", statement, got)
		}
	}
}

// Statements end, and rows are counted, the same in whatever pieces the copy comes.
func TestStatementsInPieces(t *testing.T) {
	t.Parallel()
	alphabet := []string{"'", `"`, "`", `\`, ";", "(", ")", "V", "x", "''", `\'`, `\\`, "),("}
	source := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not a secret
	for range 2000 {
		text := "INSERT INTO `t` VALUES (1,'"
		for range source.IntN(40) {
			text += alphabet[source.IntN(len(alphabet))]
		}
		want := naive(text)
		for size := 1; size <= len(text); size++ {
			var s scan
			end := 0
			for piece := range slices.Chunk([]byte(text), size) {
				n, found := s.to(piece)
				end += n
				if found {
					break
				}
			}
			if got := [3]int64{int64(end), s.rows, s.size}; got != want {
				t.Fatalf("%s in pieces of %d: end, rows and bytes are %v, want %v", text, size, got, want)
			}
		}
	}
}

// naive looks at each byte of a statement, and returns its end, the rows and their bytes.
func naive(text string) [3]int64 {
	var quote rune
	escaped, depth, began, rows, size := false, 0, 0, 0, 0
	for i, c := range text {
		switch {
		case escaped:
			escaped = false
		case quote != 0 && c == '\\' && quote != '`':
			escaped = true
		case c == quote:
			quote = 0
		case quote != 0:
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case c == ';':
			return [3]int64{int64(i), int64(rows), int64(size)}
		case c == '(':
			if depth == 0 {
				began = i
			}
			depth++
		case c == ')':
			if depth--; depth == 0 {
				rows, size = rows+1, size+i-began+1
			}
		case c == 'V' && depth == 0:
			rows, size = 0, 0
		}
	}
	return [3]int64{int64(len(text)), int64(rows), int64(size)}
}
