package server

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/admin/admintest"
)

// BenchmarkIdleNamespaces is what namespaces cost that nobody calls: memory of the
// runtime and its workers, and room in the database. Each has a key, and an action
// of its own that was called once.
func BenchmarkIdleNamespaces(b *testing.B) {
	const namespaces = 10_000
	server := newServer(b)
	operator := server.operator(b)
	use := func(from, to int) {
		var all sync.WaitGroup
		for worker := range 16 {
			all.Go(func() {
				for n := from + worker; n < to; n += 16 {
					useOnce(b, server, operator, n)
				}
			})
		}
		all.Wait()
	}
	for b.Loop() {
		use(0, 500) // what there is one of for all
		memory, room := server.holds(b)
		use(500, 500+namespaces)
		memoryThen, roomThen := server.holds(b)
		b.ReportMetric(float64(memoryThen-memory)/namespaces/1000, "kB-memory/namespace")
		b.ReportMetric(float64(roomThen-room)/namespaces/1000, "kB-database/namespace")
	}
}

// useOnce makes a namespace with a key and an action, and calls that.
func useOnce(b *testing.B, server *testServer, operator *admintest.Operator, n int) {
	b.Helper()
	a := server.bound(b, operator, fmt.Sprint("i", n), admintest.Limits())
	defer a.client.CloseIdleConnections()
	a.expect(b, 200, "PUT", a.own("/actions/a"), javascript(fmt.Sprintf("function main() { return { n: %d } }", n)))
	a.expect(b, 200, "POST", a.own("/actions/a?blocking=true&result=true"), object{})
}

// holds is the memory that this process, which the runtime is in, and its workers
// hold, and how large the database is, in bytes.
func (s *testServer) holds(b *testing.B) (memory, room int64) {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		b.Fatal(err)
	}
	mine := "/proc/" + strconv.Itoa(os.Getpid())
	worker := embeddedtest.FunctionsProgram(b)
	for _, process := range processes {
		command, _ := os.ReadFile(process + "/cmdline") // it may be gone
		if process != mine && !strings.HasPrefix(string(command), worker) {
			continue
		}
		statm, err := os.ReadFile(process + "/statm")
		if fields := strings.Fields(string(statm)); err == nil && len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			memory += pages * int64(os.Getpagesize())
		}
	}
	if err := s.store.Pool.QueryRow(b.Context(), "select pg_database_size(current_database())").Scan(&room); err != nil {
		b.Fatal(err)
	}
	return memory, room
}
