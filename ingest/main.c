/* tocsin-ingest: webhooks in, records out. */
#include "ingest/ingest.h"

int main(int argc, char **argv)
{
    return service_main(&ingest_service, argc, argv);
}
