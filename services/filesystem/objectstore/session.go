package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// Session is an application's use of a bucket.
type Session struct {
	Client    *minio.Client
	Bucket    string
	transport *http.Transport
}

// Dial connects as an application does, with its credentials alone.
func Dial(ctx context.Context, values map[string]any) (services.Session, error) {
	text := func(key string) string { s, _ := values[key].(string); return s }
	at, _, err := endpoint.Parse(text("endpoint"), Ports())
	if err != nil {
		return nil, errors.New("the credentials have no endpoint")
	}
	s := &Session{transport: httpapi.NewTransport(text("ca"), 8), Bucket: text("bucket")}
	s.Client, err = minio.New(at.Host, &minio.Options{
		Creds:     credentials.NewStaticV4(text("access_key_id"), text("secret_access_key"), ""),
		Secure:    at.Scheme == "https",
		Region:    text("region"),
		Transport: s.transport,
		// Callers want to see errors. One retry is for empty objects, which minio-go sends in
		// chunks: the gateway may hang up on the last one.
		MaxRetries:   2,
		BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		return nil, fmt.Errorf("use the credentials: %w", err)
	}
	if err := s.Ping(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Write implements services.Session.
func (s *Session) Write(ctx context.Context, key, value string) error {
	_, err := s.Client.PutObject(ctx, s.Bucket, key, strings.NewReader(value), int64(len(value)), minio.PutObjectOptions{})
	return err
}

// Read implements services.Session.
func (s *Session) Read(ctx context.Context, key string) (string, error) {
	object, err := s.Client.GetObject(ctx, s.Bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return "", err
	}
	value, err := io.ReadAll(object)
	return string(value), errors.Join(err, object.Close())
}

// Ping implements services.Session.
func (s *Session) Ping(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx) // ends the listing after the first object
	defer cancel()
	for o := range s.Client.ListObjects(ctx, s.Bucket, minio.ListObjectsOptions{MaxKeys: 1}) {
		return o.Err
	}
	return nil
}

// Close implements services.Session.
func (s *Session) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}
