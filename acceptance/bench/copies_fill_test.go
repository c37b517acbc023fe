package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/embedded"
)

const (
	rowBytes = 180 // about, of the rows as text
	steps    = 16  // so that no statement takes long
)

func fillPostgres(ctx context.Context, _ *rig.Deployment, access map[string]any, size int64) error {
	conn, err := pgx.Connect(ctx, access["uri"].(string))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	statements := []string{"CREATE TABLE bulk (n bigint PRIMARY KEY, a text, b text, at timestamptz)"}
	for i := range int64(steps) {
		statements = append(statements, fmt.Sprintf(`INSERT INTO bulk SELECT n, md5(n::text), md5((n + 1)::text) || repeat('filler ', 10), now()
			FROM generate_series(%d, %d) n`, i*size/rowBytes/steps+1, (i+1)*size/rowBytes/steps))
	}
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func fillMariaDB(ctx context.Context, _ *rig.Deployment, access map[string]any, size int64) error {
	db, err := embedded.OpenMariaDB(access["uri"].(string))
	if err != nil {
		return err
	}
	defer db.Close()
	statements := []string{"CREATE TABLE bulk (n BIGINT PRIMARY KEY, a CHAR(32), b VARCHAR(200), at DATETIME)"}
	for i := range int64(steps) {
		statements = append(statements, fmt.Sprintf("INSERT INTO bulk SELECT seq, MD5(seq), CONCAT(MD5(seq + 1), REPEAT('filler ', 10)), NOW() FROM seq_%d_to_%d",
			i*size/rowBytes/steps+1, (i+1)*size/rowBytes/steps))
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// copiedStream is the stream in NATS.
const copiedStream = "S"

func fillNATS(ctx context.Context, _ *rig.Deployment, access map[string]any, size int64) error {
	conn, err := nats.Connect(access["uri"].(string), nats.UserCredentialBytes([]byte(access["creds"].(string))))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(256))
	if err != nil {
		return err
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: copiedStream, Subjects: []string{"s"}}); err != nil {
		return err
	}
	for range size / 8192 {
		message := make([]byte, 8192)
		noise(message)
		if _, err := js.PublishAsync("s", message); err != nil {
			return err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// files calls write with contents that together have so many bytes: half of them in files of
// 64 kB, the others in files of 16 MB.
func files(size int64, write func(name string, content []byte) error) error {
	for _, each := range []int64{64 << 10, 16 << 20} {
		content := make([]byte, each)
		for i := range size / 2 / each {
			noise(content)
			if err := write(fmt.Sprintf("%d-%d", each, i), content); err != nil {
				return err
			}
		}
	}
	return nil
}

func fillS3(ctx context.Context, _ *rig.Deployment, access map[string]any, size int64) error {
	client, err := s3Client(host(access["endpoint"].(string)), access["access_key_id"].(string), access["secret_access_key"].(string))
	if err != nil {
		return err
	}
	return files(size, func(name string, content []byte) error {
		_, err := client.PutObject(ctx, access["bucket"].(string), name, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
		return err
	})
}

// fillShare writes as Samba does, which stores its attributes with each file.
func fillShare(_ context.Context, d *rig.Deployment, access map[string]any, size int64) error {
	dir := filepath.Join(d.Value("SMB_FOLDER"), access["share"].(string))
	return files(size, func(name string, content []byte) error {
		return os.WriteFile(filepath.Join(dir, name), content, 0o600)
	})
}
