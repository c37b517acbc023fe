package objectstore

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	// partSize is the least size of a part, and the greatest of an object that is uploaded whole.
	partSize = 8 << 20
	// maxParts is a limit of S3.
	maxParts = 10_000
	// uploading is how many bytes are uploaded at a time.
	uploading = 32 << 20
	// callTime is how long one upload of a part may take.
	callTime = 5 * time.Minute
	// abortTime is how long the end of an unfinished upload may take.
	abortTime = 5 * time.Second
)

// uploads uploads objects and parts side by side.
type uploads struct {
	client *Client
	bucket string
	group  *errgroup.Group
	ctx    context.Context // ends with the first error
	room   *semaphore.Weighted
	free   chan []byte // of partSize
}

func newUploads(ctx context.Context, c *Client, bucket string) *uploads {
	u := &uploads{client: c, bucket: bucket, room: semaphore.NewWeighted(uploading), free: make(chan []byte, copiers+1)}
	u.group, u.ctx = errgroup.WithContext(ctx)
	u.group.SetLimit(copiers)
	return u
}

// wait waits for all uploads; err is why no more follow.
func (u *uploads) wait(err error) error {
	if err != nil {
		u.group.Go(func() error { return err }) // cancels the others
	}
	return u.group.Wait()
}

// put uploads an object, whose content it reads.
func (u *uploads) put(a attributes, content io.Reader) error {
	if a.size <= partSize {
		return u.send(a.size, content, func(body []byte) error {
			return u.call(Request{Method: http.MethodPut, Key: a.key, Header: a.request(), Body: body}, nil, "write object "+quoted(a.key))
		})
	}
	m, tags := &multipart{uploads: u, key: a.key}, a.tags
	a.tags = "" // Ceph's gateway does not take them with the beginning of an upload
	if err := m.put(a, content); err != nil {
		return errors.Join(err, m.abort())
	}
	if tags == "" {
		return nil
	}
	return u.putTags(a.key, tags)
}

// send reads n bytes and calls write with them, beside others.
func (u *uploads) send(n int64, content io.Reader, write func(body []byte) error) error {
	weight := min(n, uploading)
	if err := u.room.Acquire(u.ctx, weight); err != nil {
		return err
	}
	buffer := u.buffer(n)
	body := buffer[:n]
	if _, err := io.ReadFull(content, body); err != nil {
		u.room.Release(weight)
		return readFault(err)
	}
	u.group.Go(func() error {
		defer u.room.Release(weight)
		err := write(body)
		if err == nil { // else net/http may still read it
			u.reuse(buffer)
		}
		return err
	})
	return nil
}

// buffer returns one for n bytes. Those of parts are used again, so that none wait for the
// garbage collector.
func (u *uploads) buffer(n int64) []byte {
	if n > partSize {
		return make([]byte, n)
	}
	select {
	case b := <-u.free:
		return b
	default:
		return make([]byte, partSize)
	}
}

func (u *uploads) reuse(b []byte) {
	if len(b) != partSize {
		return
	}
	select {
	case u.free <- b:
	default:
	}
}

func (u *uploads) call(r Request, out any, doing string) error {
	ctx, cancel := context.WithTimeout(u.ctx, callTime)
	defer cancel()
	r.Bucket = u.bucket
	return u.client.Explain(doing, u.client.Call(ctx, r, out))
}

// multipart is an upload in parts (Amazon S3 API reference, "CreateMultipartUpload").
type multipart struct {
	*uploads
	key, id string

	sent  sync.WaitGroup
	mu    sync.Mutex
	parts map[int]string // their ETags, by number
	fault error
}

func (m *multipart) put(a attributes, content io.Reader) error {
	var made struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		UploadID string   `xml:"UploadId"`
	}
	err := m.call(Request{Method: http.MethodPost, Key: m.key, Query: url.Values{"uploads": {""}}, Header: a.request()}, &made, "begin an upload")
	if err != nil {
		return err
	}
	m.id, m.parts = made.UploadID, map[int]string{}
	size := max(partSize, (a.size+maxParts-1)/maxParts)
	for number, rest := 1, a.size; rest > 0 && err == nil; number++ {
		n := min(size, rest)
		rest -= n
		m.sent.Add(1)
		err = m.send(n, content, func(body []byte) error { defer m.sent.Done(); return m.putPart(number, body) })
		if err != nil {
			m.sent.Done()
		}
	}
	m.sent.Wait()
	if err := errors.Join(err, m.fault); err != nil {
		return err
	}
	return m.complete()
}

func (m *multipart) putPart(number int, body []byte) error {
	etag, err := m.client.putPart(m.ctx, m.bucket, m.key, m.id, number, body)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[number] = etag
	if m.fault == nil {
		m.fault = m.client.Explain("write a part of object "+quoted(m.key), err)
	}
	return m.fault
}

// complete makes an object of the parts.
func (m *multipart) complete() error {
	type part struct {
		PartNumber int
		ETag       string
	}
	command := struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []part
	}{}
	for number := 1; number <= len(m.parts); number++ {
		command.Part = append(command.Part, part{number, m.parts[number]})
	}
	var answer struct { // an error may follow a status that says success
		XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
	}
	return m.call(Request{Method: http.MethodPost, Key: m.key, Query: url.Values{"uploadId": {m.id}}, Body: command}, &answer, "complete an upload")
}

// abort ends an upload that was not completed, whatever ended it.
func (m *multipart) abort() error {
	if m.id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), abortTime)
	defer cancel()
	return m.client.AbortUpload(ctx, m.bucket, Upload{Key: m.key, UploadID: m.id})
}

// putPart uploads a part and returns its ETag.
func (c *Client) putPart(ctx context.Context, bucket, key, id string, number int, body []byte) (etag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	query := url.Values{"uploadId": {id}, "partNumber": {strconv.Itoa(number)}}
	resp, err := c.exchange(ctx, Request{Method: http.MethodPut, Bucket: bucket, Key: key, Query: query, Body: body}, nil)
	if err != nil {
		return "", err
	}
	return resp.Get("Etag"), nil
}
