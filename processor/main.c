/* tocsin-processor: raw records in, alerts and incidents and what there is to say about them out.
 */
#include "processor/processor.h"

int main(int argc, char **argv)
{
    return service_main(&processor_service, argc, argv);
}
