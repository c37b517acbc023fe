package bench_test

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go"
)

// A variable makes this test's binary a stage in a pipe of bare tools.
const (
	stageVariable   = "CHANDLER_BENCH_STAGE"
	stagePut        = "put" // age and an upload with minio-go
	stageGet        = "get"
	stageSnapshot   = "snapshot" // of a stream, as the nats program does
	stageUnsnapshot = "unsnapshot"
	stageObjects    = "objects" // one after the other into a tar archive
	stageUnobjects  = "unobjects"
)

// beStage runs the stage that a pipe started this process for, if any.
func beStage() {
	stage, ok := map[string]func(context.Context) error{
		stagePut: put, stageGet: get, stageSnapshot: snapshot, stageUnsnapshot: unsnapshot, stageObjects: objects, stageUnobjects: unobjects,
	}[os.Getenv(stageVariable)]
	if !ok {
		return
	}
	if err := stage(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

const copiedObject = "bare"

func theStore() (*minio.Client, *age.X25519Identity, error) {
	client, err := s3Client(os.Getenv("STORE_ADDRESS"), os.Getenv("STORE_ACCESS_KEY"), os.Getenv("STORE_SECRET_KEY"))
	if err != nil {
		return nil, nil, err
	}
	key, err := age.ParseX25519Identity(os.Getenv("STORE_KEY"))
	return client, key, err
}

func put(ctx context.Context) error {
	client, key, err := theStore()
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() {
		encrypted, err := age.Encrypt(w, key.Recipient())
		if err == nil {
			_, err = io.CopyBuffer(onlyWriter{encrypted}, os.Stdin, make([]byte, 1<<18))
		}
		if err == nil {
			err = encrypted.Close()
		}
		_ = w.CloseWithError(err)
	}()
	_, err = client.PutObject(ctx, copyBucket, copiedObject, r, -1, minio.PutObjectOptions{PartSize: 16 << 20})
	return err
}

// onlyWriter hides other methods.
type onlyWriter struct{ io.Writer }

func get(ctx context.Context) error {
	client, key, err := theStore()
	if err != nil {
		return err
	}
	object, err := client.GetObject(ctx, copyBucket, copiedObject, minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	decrypted, err := age.Decrypt(object, key)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(onlyWriter{os.Stdout}, decrypted, make([]byte, 1<<18))
	return err
}

func account() (*nats.Conn, error) {
	return nats.Connect(os.Getenv("URI"), nats.UserCredentialBytes([]byte(os.Getenv("CREDS"))))
}

// snapshot writes a stream's snapshot (NATS documentation, "JetStream wire API Reference").
func snapshot(context.Context) error {
	conn, err := account()
	if err != nil {
		return err
	}
	defer conn.Close()
	inbox := conn.NewRespInbox()
	chunks, err := conn.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	request := fmt.Sprintf(`{"deliver_subject": %q, "chunk_size": 131072}`, inbox)
	answer, err := conn.Request("$JS.API.STREAM.SNAPSHOT."+copiedStream, []byte(request), time.Minute)
	if err != nil {
		return err
	}
	if err := refused(answer.Data); err != nil {
		return err
	}
	for {
		m, err := chunks.NextMsg(time.Minute)
		if err != nil {
			return err
		}
		if len(m.Data) == 0 {
			return nil
		}
		if _, err := os.Stdout.Write(m.Data); err != nil {
			return err
		}
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				return err
			}
		}
	}
}

func refused(answer []byte) error {
	var a struct{ Error *struct{ Description string } }
	if err := json.Unmarshal(answer, &a); err != nil {
		return err
	}
	if a.Error != nil {
		return errors.New(a.Error.Description)
	}
	return nil
}

func unsnapshot(context.Context) error {
	conn, err := account()
	if err != nil {
		return err
	}
	defer conn.Close()
	request := fmt.Sprintf(`{"config": {"name": %q, "subjects": ["s"], "storage": "file", "retention": "limits", "num_replicas": 1}}`, copiedStream)
	answer, err := conn.Request("$JS.API.STREAM.RESTORE."+copiedStream, []byte(request), time.Minute)
	if err != nil {
		return err
	}
	if err := refused(answer.Data); err != nil {
		return err
	}
	var begun struct {
		Subject string `json:"deliver_subject"`
	}
	if err := json.Unmarshal(answer.Data, &begun); err != nil {
		return err
	}
	for chunk := make([]byte, 128<<10); ; {
		n, err := io.ReadFull(os.Stdin, chunk)
		if n > 0 {
			if _, err := conn.Request(begun.Subject, chunk[:n], time.Minute); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	answer, err = conn.Request(begun.Subject, nil, time.Minute)
	if err != nil {
		return err
	}
	return refused(answer.Data)
}

func theBucket() (*minio.Client, string, error) {
	client, err := s3Client(host(os.Getenv("ENDPOINT")), os.Getenv("ACCESS_KEY"), os.Getenv("SECRET_KEY"))
	return client, os.Getenv("BUCKET"), err
}

func objects(ctx context.Context) error {
	client, bucket, err := theBucket()
	if err != nil {
		return err
	}
	archive := tar.NewWriter(os.Stdout)
	for o := range client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			return o.Err
		}
		object, err := client.GetObject(ctx, bucket, o.Key, minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(&tar.Header{Name: o.Key, Size: o.Size, Mode: 0o600}); err != nil {
			return err
		}
		if _, err := io.Copy(archive, object); err != nil {
			return err
		}
		_ = object.Close()
	}
	return archive.Close()
}

func unobjects(ctx context.Context) error {
	client, bucket, err := theBucket()
	if err != nil {
		return err
	}
	for archive := tar.NewReader(os.Stdin); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := client.PutObject(ctx, bucket, h.Name, archive, h.Size, minio.PutObjectOptions{}); err != nil {
			return err
		}
	}
}
