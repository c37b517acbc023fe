package mysql

import (
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// Temporary tables have a limit that an application cannot raise.
func TestTemporaryTablesAreLimited(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	server.exec(t, "SET GLOBAL tmp_disk_table_size = 16777216")
	_, credentials := bound(t, b, inst, "b", access.ReadOnly)
	s := dialled(t, credentials)
	s.must(t, "SET tmp_memory_table_size = 1024")
	const large = "SELECT COUNT(*) FROM (SELECT DISTINCT seq, REPEAT('x', 2000) FROM seq_1_to_60000) d"
	expect(t, s.run(t, large), "is full")
	for variable, most := range map[string]string{
		"tmp_disk_table_size": "268435456", "tmp_memory_table_size": "67108864", "max_sort_length": "1024",
	} {
		s.must(t, "SET sql_mode = ''", "SET "+variable+" = 18446744073709551615")
		if got := s.ask(t, "SELECT @@"+variable); got != most {
			t.Errorf("an application has set %s to %s", variable, got)
		}
		s.must(t, "SET sql_mode = 'STRICT_ALL_TABLES'")
		expect(t, s.run(t, "SET "+variable+" = 18446744073709551615"), "can't be set")
	}
	expect(t, s.run(t, strings.ReplaceAll(large, "60000", "600000")), "is full")
}
