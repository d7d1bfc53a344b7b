package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

func main() {
	n, _ := strconv.Atoi(os.Getenv("N"))
	server := "127.0.0.1:" + os.Getenv("PORT")
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
	free := make(chan bool, 128)
	var all sync.WaitGroup
	t := time.Now()
	for i := 0; i < n; i++ {
		all.Add(1)
		free <- true
		go func(i int) {
			found, err := r.LookupIP(context.Background(), "ip4", fmt.Sprintf("h%d.bench.test.", i))
			if err != nil || found[0].String() != "10.1.2.3" {
				panic(err)
			}
			<-free
			all.Done()
		}(i)
	}
	all.Wait()
	fmt.Printf("resolve_rps %.0f names/s\n", float64(n)/time.Since(t).Seconds())
}
