package embedded

import (
	"context"
	"syscall"
)

const pidFile = dataFolder + "/postmaster.pid"

// fill finds the programs that fit the data, which is made where that has not
// been done to the end.
func (s *Postgres) fill(ctx context.Context, port int) error {
	version, err := s.folder.readFile(dataFolder + "/PG_VERSION")
	if err != nil {
		return err
	}
	if s.binaries, err = findPostgres(ctx, firstNumber(string(version))); err != nil {
		return err
	}
	if s.password, err = s.folder.keptSecret(passwordFile); err != nil {
		return err
	}
	if version == nil {
		err = s.folder.makeData(func() error { return s.initdb(ctx) })
	}
	if err != nil {
		return err
	}
	s.port, err = s.folder.keptPort(ctx, portFile, port, tryTCP)
	return err
}

func (s *Postgres) initdb(ctx context.Context) error {
	args := []string{
		"--pgdata=" + s.folder.childPath(freshData), "--username=" + superuser,
		"--pwfile=" + s.folder.childPath(passwordFile), "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C.UTF-8",
	}
	if s.noSync {
		args = append(args, "--no-sync")
	}
	return runProcess(ctx, program{
		path: s.binaries.path("initdb"), args: args, folder: s.folder, log: "initdb.log",
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL,
	})
}
