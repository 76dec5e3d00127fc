/* sendLater: a send() that may take long (removing a link waits for RCU) on Node's thread pool. */
#include "napi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct job {
	napi_async_work work;
	napi_deferred deferred;
	int fd, flags;
	int64_t status;
	size_t len;
	char data[];
};

static void run(napi_env env, void *data)
{
	struct job *job = data;
	(void)env;
	job->status = send(job->fd, job->data, job->len, job->flags);
	if (job->status < 0)
		job->status = -errno;
}

static void finish(napi_env env, napi_status status, void *data)
{
	struct job *job = data;
	napi_resolve_deferred(env, job->deferred, number(env, status == napi_ok ? job->status : -ECANCELED));
	napi_delete_async_work(env, job->work);
	free(job);
}

/* sendLater(fd, data, flags): a promise of what send() returns */
napi_value send_later(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	struct bytes data = bytes_arg(&c, 1);
	int flags = int_arg(&c, 2);
	napi_value promise = NULL;
	if (c.failed)
		return NULL;
	struct job *job = malloc(sizeof(*job) + data.len);
	if (!job)
		return number(env, -ENOMEM);
	*job = (struct job){ .fd = fd, .flags = flags, .len = data.len };
	memcpy(job->data, data.data, data.len);
	if (napi_create_promise(env, &job->deferred, &promise) != napi_ok ||
	    napi_create_async_work(env, NULL, text(env, "sendLater"), run, finish, job, &job->work) != napi_ok) {
		free(job);
		return NULL;
	}
	napi_queue_async_work(env, job->work);
	return promise;
}
