package acceptance_test

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lib/pq"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// open connects as an application does, with lib/pq and the uri. A lost connection is
// not replaced.
func open(ctx context.Context, credentials map[string]any) (*sql.Conn, error) {
	uri, _ := credentials["uri"].(string)
	connector, err := pq.NewConnector(uri)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector)
	conn, err := pool.Conn(ctx)
	if err != nil {
		_ = pool.Close()
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = pool.Close() })
	return conn, nil
}

// connect calls open, which must succeed, and closes the session at the end of the spec.
func connect(ctx context.Context, credentials map[string]any) *sql.Conn {
	GinkgoHelper()
	conn, err := open(ctx, credentials)
	Expect(err).NotTo(HaveOccurred())
	return conn
}

func run(ctx context.Context, conn *sql.Conn, statement string) {
	GinkgoHelper()
	_, err := conn.ExecContext(ctx, statement)
	Expect(err).NotTo(HaveOccurred())
}

func ask[T any](ctx context.Context, conn *sql.Conn, query string) T {
	GinkgoHelper()
	var answer T
	Expect(conn.QueryRowContext(ctx, query).Scan(&answer)).To(Succeed())
	return answer
}

// refusedAs matches an error of PostgreSQL by the name of its code.
func refusedAs(name string) OmegaMatcher {
	return WithTransform(func(err error) string {
		if answer, ok := errors.AsType[*pq.Error](err); ok {
			return answer.Code.Name()
		}
		return "no answer of the server"
	}, Equal(name))
}
